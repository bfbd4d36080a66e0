/**
 * A company's authority for device certificates, in memory: issues what honest and dishonest devices would show, revokes, and signs lists.
 * Everything that RFC 5280 lets an issuer get wrong can be asked for.
 */

import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509'

cryptoProvider.set(webcrypto as Crypto)

export interface IssuedCertificate {
  /** PEM. */
  readonly cert: string
  readonly key: string
  readonly der: Buffer
  readonly serial: string
}

export interface CertificateWishes {
  readonly commonName?: string
  readonly names?: readonly { readonly type: 'dns' | 'url' | 'email'; readonly value: string }[]
  readonly notBefore?: number
  readonly notAfter?: number
  /** Object identifiers; empty: no extension. */
  readonly extendedKeyUsage?: readonly string[]
  readonly keyUsage?: number | undefined
  readonly algorithm?: KeyAlgorithmName
  readonly signatureHash?: 'SHA-1' | 'SHA-256'
  readonly extensions?: readonly Extension[]
  readonly isAuthority?: boolean
  readonly pathLength?: number
}

export interface ListWishes {
  readonly thisUpdate?: number
  readonly nextUpdate?: number | undefined
  readonly extensions?: readonly Extension[]
}

export type KeyAlgorithmName = 'P-256' | 'RSA-1024' | 'RSA-2048' | 'RSA-PSS' | 'Ed25519'

export interface DeviceAuthority {
  /** PEM of its own certificate. */
  readonly pem: string
  readonly der: Buffer
  issue(wishes?: CertificateWishes): Promise<IssuedCertificate>
  /** An authority below this one. */
  issueAuthority(wishes?: CertificateWishes): Promise<DeviceAuthority>
  /** PEM of a list that revokes these certificates. */
  list(revoked: readonly { readonly serial: string }[], wishes?: ListWishes): Promise<string>
}

export const usages = {
  clientAuth: '1.3.6.1.5.5.7.3.2',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  any: '2.5.29.37.0',
} as const

const day = 86_400_000

/** An authority that signed itself. */
export async function createDeviceAuthority(wishes: CertificateWishes = {}): Promise<DeviceAuthority> {
  return make(undefined, { commonName: 'Devices of Corp', ...wishes, isAuthority: true })
}

interface Issuer {
  readonly name: string
  readonly key: webcrypto.CryptoKey
}

async function make(parent: Issuer | undefined, wishes: CertificateWishes): Promise<DeviceAuthority> {
  const { issued, keys, subject } = await sign(parent, wishes)
  const issuer: Issuer = { name: subject, key: keys.privateKey }
  return {
    pem: issued.cert,
    der: issued.der,
    issue: async (more = {}) => (await sign(issuer, more)).issued,
    issueAuthority: (more = {}) => make(issuer, { commonName: `Authority ${randomBytes(4).toString('hex')}`, ...more, isAuthority: true }),
    async list(revoked, { thisUpdate = Date.now() - 60_000, extensions = [], ...rest } = {}) {
      const nextUpdate = 'nextUpdate' in rest ? rest.nextUpdate : Date.now() + day
      const list = await X509CrlGenerator.create({
        issuer: issuer.name,
        thisUpdate: new Date(thisUpdate),
        ...(nextUpdate === undefined ? {} : { nextUpdate: new Date(nextUpdate) }),
        entries: revoked.map(({ serial }) => ({ serialNumber: serial, revocationDate: new Date(thisUpdate) })),
        signingAlgorithm: signingAlgorithmOf(issuer.key, 'SHA-256'),
        signingKey: issuer.key as CryptoKey,
        extensions: [...extensions],
      })
      return PemConverter.encode(list.rawData, 'X509 CRL')
    },
  }
}

async function sign(parent: Issuer | undefined, wishes: CertificateWishes) {
  const { commonName = 'laptop-7', isAuthority = false } = wishes
  const keys = await createKeys(wishes.algorithm ?? 'P-256')
  const subject = `CN=${commonName}`
  const signer = parent ?? { name: subject, key: keys.privateKey }
  const serial = `0${randomBytes(15).toString('hex').slice(1)}`
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject,
    issuer: signer.name,
    notBefore: new Date(wishes.notBefore ?? Date.now() - day),
    notAfter: new Date(wishes.notAfter ?? Date.now() + 30 * day),
    publicKey: keys.publicKey as CryptoKey,
    signingKey: signer.key as CryptoKey,
    signingAlgorithm: signingAlgorithmOf(signer.key, wishes.signatureHash ?? 'SHA-256'),
    extensions: extensionsOf(wishes, isAuthority),
  })
  const der = Buffer.from(certificate.rawData)
  const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
  return { issued: { cert: `${certificate.toString('pem')}\n`, key, der, serial }, keys, subject }
}

function extensionsOf(wishes: CertificateWishes, isAuthority: boolean): Extension[] {
  const extendedKeyUsage = wishes.extendedKeyUsage ?? (isAuthority ? [] : [usages.clientAuth])
  const usual = isAuthority ? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign : KeyUsageFlags.digitalSignature
  const keyUsage = 'keyUsage' in wishes ? wishes.keyUsage : usual
  return [
    ...(isAuthority ? [new BasicConstraintsExtension(true, wishes.pathLength, true)] : []),
    ...(keyUsage === undefined ? [] : [new KeyUsagesExtension(keyUsage, true)]),
    ...(extendedKeyUsage.length === 0 ? [] : [new ExtendedKeyUsageExtension([...extendedKeyUsage])]),
    ...(wishes.names === undefined ? [] : [new SubjectAlternativeNameExtension([...wishes.names])]),
    ...(wishes.extensions ?? []),
  ]
}

async function createKeys(name: KeyAlgorithmName): Promise<webcrypto.CryptoKeyPair> {
  const rsa = (kind: string, modulusLength: number) => ({
    name: kind,
    modulusLength,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  })
  const algorithm = {
    'P-256': { name: 'ECDSA', namedCurve: 'P-256' },
    'RSA-1024': rsa('RSASSA-PKCS1-v1_5', 1024),
    'RSA-2048': rsa('RSASSA-PKCS1-v1_5', 2048),
    'RSA-PSS': rsa('RSA-PSS', 2048),
    Ed25519: { name: 'Ed25519' },
  }[name]
  return (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
}

function signingAlgorithmOf({ algorithm: { name } }: webcrypto.CryptoKey, hash: string) {
  return name === 'RSA-PSS' ? { name, hash, saltLength: 32 } : { name, hash }
}
