/**
 * What an admin states of a device when it is registered, checked: every problem at once, each in words.
 *
 * Both ways in (the command and a CSV row) come through here. What identifies a device is put into one form, so that two spellings of a
 * fingerprint or a name can never be two devices: fingerprints lower-case hex, names and serial numbers compared without regard to case.
 */

import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { Scalar } from '../policy/document.ts'

/** As it was typed or stands in a row. */
export interface DeviceInput {
  readonly id: string
  readonly serial?: string | undefined
  readonly name?: string | undefined
  readonly owner?: string | undefined
  readonly tags?: readonly string[] | undefined
  readonly fingerprints?: readonly string[] | undefined
  readonly names?: readonly string[] | undefined
  /** Text of a PEM or JWK file. */
  readonly publicKey?: string | undefined
  readonly attributes?: Readonly<Record<string, string>> | undefined
}

/** The public key that a device signs its reports with, and the one algorithm that goes with it. */
export interface DeviceKey {
  readonly algorithm: 'EdDSA' | 'ES256'
  readonly jwk: { readonly kty: string; readonly crv: string; readonly x: string; readonly y?: string }
  /** RFC 7638, SHA-256, base64url. */
  readonly thumbprint: string
}

/** A device as it may enter the inventory. */
export interface DeviceDefinition {
  readonly id: string
  readonly serial: string | undefined
  readonly name: string
  readonly owner: string | undefined
  readonly tags: readonly string[]
  readonly fingerprints: readonly string[]
  /** As certificates state them, lower-case. */
  readonly names: readonly string[]
  readonly key: DeviceKey | undefined
  readonly attributes: Readonly<Record<string, Scalar>>
}

/** Ids stand in paths, in the `sub` of reports and in shell commands. */
export function isDeviceId(id: string): boolean {
  return /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/.test(id)
}

/** Whether these may be the tags of a device. */
export function areDeviceTags(tags: readonly string[]): boolean {
  return tags.length <= 32 && tags.every((tag) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(tag))
}

/** The definition, or everything that is wrong with it. */
export function parseDeviceDefinition(input: DeviceInput): DeviceDefinition | { readonly problems: readonly string[] } {
  const problems: string[] = []
  const check = (isGood: boolean, problem: string) => void (isGood || problems.push(problem))
  const { attributes = {}, owner, serial, tags = [] } = input
  const name = input.name ?? input.id
  const fingerprints = unique(
    (input.fingerprints ?? []).map((text) =>
      text
        .replace(/^sha256:/i, '')
        .replaceAll(':', '')
        .toLowerCase(),
    ),
  )
  const names = unique((input.names ?? []).map((text) => text.toLowerCase()))

  check(isDeviceId(input.id), 'the id must be of lower-case letters, digits, `.`, `_` and `-`, at most 64 of them, such as `laptop-7`')
  check(serial === undefined || isLine(serial, 128), 'the serial number must be one line of at most 128 characters')
  check(serial === undefined || !isPlaceholder(serial), 'this serial number is what a maker writes where there is none: leave it out')
  check(isLine(name, 128), 'the name must be one line of at most 128 characters')
  check(owner === undefined || isLine(owner, 254), 'the owner must be one line of at most 254 characters')
  check(areDeviceTags(tags), 'a tag is a word of letters, digits, `.`, `_` and `-`; at most 32 of them')
  check(
    fingerprints.length <= 8 && fingerprints.every((text) => /^[0-9a-f]{64}$/.test(text)),
    'a fingerprint is the SHA-256 of a certificate, 64 hexadecimal digits; at most 8 of them',
  )
  check(
    names.length <= 16 && names.every((text) => /^[\x21-\x7e]{1,254}$/.test(text)),
    'a certificate name is one word of at most 254 characters; at most 16 of them',
  )

  const entries = Object.entries(attributes)
  const areNamesGood = entries.every(([key]) => isAttributeName(key))
  check(
    entries.length <= 64 && areNamesGood,
    'an attribute is named with letters, digits, `_`, `.` and `-`, begins with a letter, and has no name of its own already; at most 64 of them',
  )
  check(
    entries.every(([, value]) => isLine(value, 256)),
    'the value of an attribute must be one line of at most 256 characters',
  )
  const values = entries.map(([key, value]) => [key, readScalar(value)] as const)
  check(
    values.every(([key, value]) => !booleans.has(key) || typeof value === 'boolean'),
    `${[...booleans].join(', ')} are \`true\` or \`false\``,
  )

  const key = input.publicKey === undefined ? undefined : readDeviceKey(input.publicKey)
  if (key !== undefined && 'problem' in key) problems.push(key.problem)
  if (problems.length > 0 || (key !== undefined && 'problem' in key)) return { problems }
  return { id: input.id, serial, name, owner, tags: unique(tags), fingerprints, names, key, attributes: Object.fromEntries(values) }
}

/** Reads a public key from PEM (SPKI, or a certificate's) or JWK text. Only Ed25519 and P-256 sign reports. */
export function readDeviceKey(text: string): DeviceKey | { readonly problem: string } {
  if (/PRIVATE KEY/.test(text) || /"d"\s*:/.test(text))
    return { problem: 'this is a private key: it stays on the device, register its public key' }
  let key: KeyObject
  try {
    key = text.trimStart().startsWith('{') ? createPublicKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' }) : createPublicKey(text)
  } catch {
    // OpenSSL's words say less than this.
    return { problem: 'this is not a public key in PEM or JWK form' }
  }
  const { kty, crv, x, y } = key.export({ format: 'jwk' })
  if (kty === 'OKP' && crv === 'Ed25519' && x !== undefined) {
    return { algorithm: 'EdDSA', jwk: { kty, crv, x }, thumbprint: thumbprintOf({ crv, kty, x }) }
  }
  if (kty === 'EC' && crv === 'P-256' && x !== undefined && y !== undefined) {
    return { algorithm: 'ES256', jwk: { kty, crv, x, y }, thumbprint: thumbprintOf({ crv, kty, x, y }) }
  }
  return { problem: 'reports are signed with Ed25519 or with ECDSA on P-256; this key is neither' }
}

/** Of an attribute that an admin sets: nothing that has a place of its own, nothing that reaches a prototype. */
function isAttributeName(name: string): boolean {
  return /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(name) && name !== 'serial' && name !== 'constructor' && name !== 'prototype'
}

const booleans: ReadonlySet<string> = new Set(['managed', 'disk_encrypted', 'screen_lock', 'firewall'])

/** `true`, `false` and plain numbers are what they look like; everything else is text (`007` too). */
function readScalar(text: string): Scalar {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,6})?$/.test(text) ? Number(text) : text
}

/** Members in the order of RFC 7638 §3.2, no white space. */
function thumbprintOf(members: Readonly<Record<string, string>>): string {
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

/** What firmware reports where nobody entered a number: all such machines would be one device. */
function isPlaceholder(serial: string): boolean {
  return /^(?:0+|none|n\/?a|default string|not (?:specified|applicable|available)|system serial number|to be filled by o\.?e\.?m\.?|unknown)$/i.test(
    serial.trim(),
  )
}

function isLine(text: string, most: number): boolean {
  return text !== '' && text.length <= most && text === text.trim() && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)]
}
