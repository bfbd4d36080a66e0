/**
 * Which presented chains are believed: every way in which a certificate can be wrong, each against one that is right but for that.
 */

import 'reflect-metadata'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BasicConstraintsExtension, Extension, KeyUsageFlags } from '@peculiar/x509'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { createDeviceAuthority, type DeviceAuthority, type IssuedCertificate, usages } from '../../e2e/support/device-authority.ts'
import { parseCertificate } from './client-certificate-parsing.ts'
import { type TrustAnchors, verifyPresented } from './client-certificate-path.ts'
import { parseRevocationList } from './client-certificate-revocation.ts'

const day = 86_400_000
const now = Date.now()
let authority: DeviceAuthority

beforeAll(async () => {
  authority = await createDeviceAuthority()
})

function anchorsOf(...authorities: DeviceAuthority[]): TrustAnchors {
  return { authorities: authorities.map(({ der }) => parseCertificate(der)).filter((one) => one !== undefined), lists: undefined }
}

async function anchorsWithList(...listed: Parameters<DeviceAuthority['list']>): Promise<TrustAnchors> {
  return { ...anchorsOf(authority), lists: [parseRevocationList(derOf(await authority.list(...listed)))] }
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

/** The word for a verdict: `verified`, or why not. */
function verdictOn(chain: readonly { readonly der: Buffer }[], anchors: TrustAnchors = anchorsOf(authority), at = now): string {
  const { reading } = verifyPresented(
    chain.map(({ der }) => der),
    anchors,
    at,
  )
  return reading.state === 'verified' ? 'verified' : reading.why
}

describe('a device certificate', () => {
  test('of the operator’s authority is verified, with its fingerprint, names and end', async () => {
    const issued = await authority.issue({
      commonName: 'laptop-7',
      names: [
        { type: 'dns', value: 'laptop-7.corp.example' },
        { type: 'url', value: 'urn:corp:device:7' },
        { type: 'email', value: 'bob@corp.example' },
      ],
      notAfter: now + 5 * day,
    })
    const { reading, validUntil } = verifyPresented([issued.der], anchorsOf(authority), now)
    expect(reading).toMatchObject({
      state: 'verified',
      certificate: { names: ['laptop-7.corp.example', 'urn:corp:device:7', 'bob@corp.example', 'laptop-7'] },
    })
    if (reading.state !== 'verified') return
    const folder = mkdtempSync(join(tmpdir(), 'postern-fingerprint-'))
    writeFileSync(join(folder, 'c.pem'), issued.cert)
    const said = execFileSync('openssl', ['x509', '-in', join(folder, 'c.pem'), '-noout', '-fingerprint', '-sha256'], { encoding: 'utf8' })
    rmSync(folder, { recursive: true })
    expect(reading.certificate.fingerprint).toBe(said.trim().split('=')[1]?.replaceAll(':', '').toLowerCase())
    expect(Math.abs(reading.certificate.notAfter - (now + 5 * day))).toBeLessThan(1000)
    expect(validUntil).toBeLessThanOrEqual(reading.certificate.notAfter + 1)
  })

  test.each([
    ['that ran out', { notAfter: now - 1000 }, 'expired'],
    ['that is not valid yet', { notBefore: now + day }, 'not_yet_valid'],
    ['for servers only', { extendedKeyUsage: [usages.serverAuth] }, 'wrong_usage'],
    ['for anything and so for nothing in particular', { extendedKeyUsage: [usages.any] }, 'wrong_usage'],
    ['for servers and clients', { extendedKeyUsage: [usages.serverAuth, usages.clientAuth] }, 'verified'],
    ['without a purpose', { extendedKeyUsage: [] }, 'verified'],
    ['whose key may not sign', { keyUsage: KeyUsageFlags.keyEncipherment }, 'wrong_usage'],
    ['without a key usage', { keyUsage: undefined }, 'verified'],
    ['that is an authority', { extensions: [new BasicConstraintsExtension(true, undefined, true)] }, 'wrong_usage'],
    ['with a critical extension that nobody knows', { extensions: [new Extension('1.2.3.4', true, new Uint8Array([5, 0]))] }, 'untrusted'],
    ['with an extension that nobody knows', { extensions: [new Extension('1.2.3.4', false, new Uint8Array([5, 0]))] }, 'verified'],
    ['with an RSA key of 1024 bits', { algorithm: 'RSA-1024' }, 'untrusted'],
    ['with an RSA key of 2048 bits', { algorithm: 'RSA-2048' }, 'verified'],
    ['with an Ed25519 key', { algorithm: 'Ed25519' }, 'verified'],
    ['signed over SHA-1', { signatureHash: 'SHA-1' }, 'untrusted'],
  ] as const)('%s is judged so', async (_name, wishes, verdict) => {
    expect(verdictOn([await authority.issue(wishes)])).toBe(verdict)
  })

  test.each(['RSA-2048', 'RSA-PSS', 'Ed25519'] as const)(
    'of an authority with a key of %s is verified, and its list read',
    async (algorithm) => {
      const other = await createDeviceAuthority({ algorithm })
      const [good, bad] = [await other.issue(), await other.issue()]
      const lists = [parseRevocationList(derOf(await other.list([bad])))]
      expect(verdictOn([good], { ...anchorsOf(other), lists })).toBe('verified')
      expect(verdictOn([bad], { ...anchorsOf(other), lists })).toBe('revoked')
    },
  )

  test('of another authority, of one with the same name, or of nobody is not trusted, whatever else is wrong with it', async () => {
    const stranger = await createDeviceAuthority({ commonName: 'Devices of Elsewhere' })
    const impostor = await createDeviceAuthority()
    expect(verdictOn([await stranger.issue({ notAfter: now - day })])).toBe('untrusted')
    expect(verdictOn([await impostor.issue()])).toBe('untrusted')
    const issued = await impostor.issue()
    expect(verdictOn([issued, impostor])).toBe('untrusted')
    expect(verdictOn([await impostor.issue(), authority])).toBe('untrusted')
    expect(verdictOn([{ der: impostor.der }])).toBe('untrusted')
  })

  test('that one byte was changed in is never verified', async () => {
    const { der } = await authority.issue({ names: [{ type: 'dns', value: 'laptop-7.corp.example' }] })
    const anchors = anchorsOf(authority)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: der.length - 1 }), fc.integer({ min: 1, max: 255 }), (index, change) => {
        const broken = Buffer.from(der)
        broken[index] = (broken[index] ?? 0) ^ change
        expect(verifyPresented([broken], anchors, now).reading.state).toBe('refused')
      }),
      { numRuns: 400 },
    )
  })

  test('with bytes after it, cut short, twice in one, or no certificate at all is malformed', async () => {
    const { der } = await authority.issue()
    for (const broken of [Buffer.concat([der, Buffer.from([0])]), der.subarray(0, -1), Buffer.concat([der, der]), Buffer.from('x')])
      expect(verdictOn([{ der: broken }])).toBe('malformed')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(verdictOn([{ der: Buffer.from(bytes) }])).toBe('malformed')
      }),
    )
  })
})

describe('a chain', () => {
  test('over intermediates is followed in any order, and not without them', async () => {
    const first = await authority.issueAuthority()
    const second = await first.issueAuthority()
    const device = await second.issue()
    expect(verdictOn([device, second, first])).toBe('verified')
    expect(verdictOn([device, first, second, authority])).toBe('verified')
    expect(verdictOn([device, second])).toBe('untrusted')
    expect(verdictOn([device])).toBe('untrusted')
    expect(verdictOn([device], anchorsOf(second))).toBe('verified')
  })

  test('ends where an authority may not go on', async () => {
    const limited = await authority.issueAuthority({ pathLength: 0 })
    const below = await limited.issueAuthority()
    expect(verdictOn([await limited.issue(), limited])).toBe('verified')
    expect(verdictOn([await below.issue(), below, limited])).toBe('untrusted')
    const over = await authority.issueAuthority({ notAfter: now - 1000 })
    expect(verdictOn([await over.issue(), over])).toBe('untrusted')
    const forServers = await authority.issueAuthority({ extendedKeyUsage: [usages.serverAuth] })
    expect(verdictOn([await forServers.issue(), forServers])).toBe('untrusted')
    const mayNotSign = await authority.issueAuthority({ keyUsage: KeyUsageFlags.cRLSign })
    expect(verdictOn([await mayNotSign.issue(), mayNotSign])).toBe('untrusted')
    const constrained = await authority.issueAuthority({
      extensions: [new Extension('2.5.29.30', true, Buffer.from('300ea00c300a820863 6f72702e636f6d'.replace(' ', ''), 'hex'))],
    })
    expect(verdictOn([await constrained.issue(), constrained])).toBe('untrusted')
    const weak = await authority.issueAuthority({ signatureHash: 'SHA-1' })
    expect(verdictOn([await weak.issue(), weak])).toBe('untrusted')
  })

  test('in which a device plays authority is not trusted', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-chain-'))
    try {
      const device = await authority.issue()
      writeFileSync(join(folder, 'd.pem'), device.cert)
      writeFileSync(join(folder, 'd.key'), device.key)
      const at = (name: string) => join(folder, name)
      const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=laptop-8']
      execFileSync('openssl', ['req', '-new', ...options, '-keyout', at('x.key'), '-out', at('x.csr')], { stdio: 'ignore' })
      const signing = ['-CA', at('d.pem'), '-CAkey', at('d.key'), '-CAcreateserial', '-days', '2']
      execFileSync('openssl', ['x509', '-req', '-in', at('x.csr'), ...signing, '-out', at('x.pem')], { stdio: 'ignore' })
      const forged = { der: derOf(readFileSync(at('x.pem'), 'utf8')) }
      expect(verdictOn([forged, device])).toBe('untrusted')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('that is too long is malformed, and one made to be expensive costs little', async () => {
    const device = await authority.issue()
    const many = await Promise.all(Array.from({ length: 9 }, () => authority.issueAuthority({ commonName: 'Same' })))
    expect(verdictOn([device, ...many])).toBe('malformed')
    const stranger = await createDeviceAuthority({ commonName: 'Same' })
    const from = performance.now()
    for (let round = 0; round < 20; round += 1) expect(verdictOn([await stranger.issue(), ...many.slice(1)])).toBe('untrusted')
    expect((performance.now() - from) / 20).toBeLessThan(200)
  })
})

describe('revocation', () => {
  let good: IssuedCertificate
  let bad: IssuedCertificate
  beforeAll(async () => {
    good = await authority.issue()
    bad = await authority.issue()
  })

  test('refuses what the list names, and nothing else', async () => {
    const anchors = await anchorsWithList([bad])
    expect(verdictOn([good], anchors)).toBe('verified')
    expect(verdictOn([bad], anchors)).toBe('revoked')
    expect(verdictOn([bad])).toBe('verified')
  })

  test('is unknown without a list in force, and a revoked certificate stays revoked', async () => {
    const outdated = await anchorsWithList([bad], { thisUpdate: now - 2 * day, nextUpdate: now - 1000 })
    expect(verdictOn([good], outdated)).toBe('revocation_unknown')
    expect(verdictOn([bad], outdated)).toBe('revoked')
    expect(verdictOn([good], await anchorsWithList([bad], { thisUpdate: now + day, nextUpdate: now + 2 * day }))).toBe('revocation_unknown')
    expect(verdictOn([good], { ...anchorsOf(authority), lists: [] })).toBe('revocation_unknown')
    const other = await createDeviceAuthority({ commonName: 'Other' })
    const theirs = [parseRevocationList(derOf(await other.list([])))]
    expect(verdictOn([good], { ...anchorsOf(authority), lists: theirs })).toBe('revocation_unknown')
  })

  test('by a list that somebody else signed in the name of the authority counts for nothing', async () => {
    const impostor = await createDeviceAuthority()
    const anchors = { ...anchorsOf(authority), lists: [parseRevocationList(derOf(await impostor.list([])))] }
    expect(verdictOn([good], anchors)).toBe('revocation_unknown')
  })

  test('of an intermediate refuses everything below it', async () => {
    const middle = await authority.issueAuthority()
    const device = await middle.issue()
    const serial = parseCertificate(middle.der)?.serial ?? ''
    const lists = [
      parseRevocationList(derOf(await authority.list([{ serial: serial.padStart(32, '0') }]))),
      parseRevocationList(derOf(await middle.list([]))),
    ]
    expect(verdictOn([device, middle], { ...anchorsOf(authority), lists })).toBe('revoked')
    expect(verdictOn([device, middle], { ...anchorsOf(authority), lists: lists.slice(1) })).toBe('verified')
  })

  test('changes a verdict by itself at the end of the list', async () => {
    const anchors = await anchorsWithList([], { nextUpdate: now + 60_000 })
    const { validUntil } = verifyPresented([good.der], anchors, now)
    expect(Math.abs(validUntil - (now + 60_000))).toBeLessThan(1000)
    expect(verdictOn([good], anchors, validUntil - 1)).toBe('verified')
    expect(verdictOn([good], anchors, validUntil)).toBe('revocation_unknown')
  })

  test.each([
    ['without an end', { nextUpdate: undefined }],
    ['that is a delta', { extensions: [new Extension('2.5.29.27', true, new Uint8Array([2, 1, 1]))] }],
    ['about some certificates only', { extensions: [new Extension('2.5.29.28', true, new Uint8Array([0x30, 3, 0x81, 1, 0xff]))] }],
    ['with a critical extension that nobody knows', { extensions: [new Extension('1.2.3.4', true, new Uint8Array([5, 0]))] }],
  ] as const)('refuses a list %s', async (_name, wishes) => {
    const der = derOf(await authority.list([bad], wishes))
    expect(() => parseRevocationList(der)).toThrow(TypeError)
  })

  test('reads a list of 100,000 in a moment, and never a broken one', async () => {
    const der = derOf(await authority.list([bad]))
    for (let end = 0; end < der.length; end += 1) expect(() => parseRevocationList(der.subarray(0, end))).toThrow()
    const entry = (index: number) =>
      element(0x30, element(0x02, Buffer.from((0x1000000 + index).toString(16).padStart(8, '0'), 'hex')), time)
    const time = element(0x17, Buffer.from('261122080000Z'))
    const entries = element(0x30, ...Array.from({ length: 100_000 }, (_, index) => entry(index)))
    const algorithm = element(0x30, Buffer.from('06082a8648ce3d040302', 'hex'))
    const signed = element(0x30, Buffer.from('020101', 'hex'), algorithm, element(0x30), time, time, entries)
    const large = element(0x30, signed, algorithm, element(0x03, Buffer.alloc(65)))
    const from = performance.now()
    const { revoked } = parseRevocationList(large)
    expect(performance.now() - from).toBeLessThan(2_000)
    expect([revoked.size, revoked.has('01000007'), revoked.has('02000007')]).toEqual([100_000, true, false])
  })
})

function element(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  const { length } = content
  const bytes =
    length < 128
      ? [length]
      : length < 256
        ? [0x81, length]
        : length < 65_536
          ? [0x82, length >> 8, length & 255]
          : [0x84, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255]
  const shortest = bytes[0] === 0x84 && length < 0x1000000 ? [0x83, ...bytes.slice(2)] : bytes
  return Buffer.concat([Buffer.from([tag, ...shortest]), content])
}
