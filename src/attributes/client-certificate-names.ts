/**
 * What TLS is told of the operator's authorities: their names, to ask clients for, and nothing that it could believe.
 *
 * Node gives TLS both at once, and then keeps the intermediates that a client presents only where its own verification failed (seen with
 * Node 24: after a success they are gone, and each look at them takes one away). Ours needs them, and is the only one that counts. So TLS
 * gets twins: certificates with an authority's name and a key that nobody has.
 */

import { generateKeyPairSync, sign } from 'node:crypto'
import { derTags } from './client-certificate-der.ts'

/** PEM of certificates that have these names (DER) and vouch for nothing. Only TLS may see them. */
export function makeNameTwins(subjects: readonly Buffer[]): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = publicKey.export({ type: 'spki', format: 'der' })
  const twins = subjects.map((subject) => {
    const fields = [element(derTags.context0, version3), serialOne, algorithm, subject, validity, subject, key]
    const signed = element(derTags.sequence, ...fields)
    const signature = element(derTags.bitString, Buffer.from([0]), sign('sha256', signed, privateKey))
    return toPem(element(derTags.sequence, signed, algorithm, signature))
  })
  return twins.join('')
}

const version3 = Buffer.from('020102', 'hex')
const serialOne = Buffer.from('020101', 'hex')
/** ecdsa-with-SHA256. */
const algorithm = Buffer.from('300a06082a8648ce3d040302', 'hex')
const validity = element(
  derTags.sequence,
  element(derTags.generalizedTime, Buffer.from('20000101000000Z')),
  element(derTags.generalizedTime, Buffer.from('99991231235959Z')),
)

function element(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  const { length } = content
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...head]), content])
}

function toPem(der: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END CERTIFICATE-----\n`
}
