/**
 * An issuer of access tokens for tests: a real HTTP server with metadata and keys that bend in every way, and a signer that writes any
 * token, also those that no library would make.
 */

import { constants, generateKeyPairSync, type JsonWebKey, type KeyObject, sign } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly jwk: JsonWebKey & { readonly kid: string; readonly alg: string; readonly use: string }
}

export interface TestIssuer {
  readonly issuer: string
  readonly jwksUri: string
  /** Published now; tests push to it and replace it. */
  keys: unknown[]
  /** Instead of the usual metadata. */
  metadata: unknown
  /** Instead of any answer. */
  answer: ((response: ServerResponse, path: string) => void) | undefined
  /** Paths that were asked for, in order. */
  readonly asked: string[]
  close(): Promise<void>
}

/** Starts it on a free port of this machine. */
export async function startIssuer(): Promise<TestIssuer> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    if (issuer.answer !== undefined) return issuer.answer(response, path)
    response.setHeader('content-type', 'application/json')
    if (path === '/jwks.json') return response.end(JSON.stringify({ keys: issuer.keys }))
    if (path.startsWith('/.well-known/') && issuer.metadata !== undefined) return response.end(JSON.stringify(issuer.metadata))
    return response.writeHead(404).end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const origin = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  const issuer: TestIssuer = {
    issuer: origin,
    jwksUri: `${origin}/jwks.json`,
    keys: [],
    metadata: { issuer: origin, jwks_uri: `${origin}/jwks.json` },
    answer: undefined,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return issuer
}

/** A new key pair for an algorithm, with the JWK that an issuer would publish. */
export function createSigningKey(alg: string, kid: string, rsaBits = 2048): SigningKey {
  const { privateKey, publicKey } = generatePair(alg, rsaBits)
  const jwk = { ...(publicKey.export({ format: 'jwk' }) as JsonWebKey), kid, alg, use: 'sig' }
  return { kid, alg, privateKey, publicKey, jwk }
}

function generatePair(alg: string, modulusLength: number): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  switch (alg) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    case 'ES384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' })
    case 'ES512':
      return generateKeyPairSync('ec', { namedCurve: 'P-521' })
    case 'EdDSA':
    case 'Ed25519':
      return generateKeyPairSync('ed25519')
    default:
      return generateKeyPairSync('rsa', { modulusLength })
  }
}

/** A compact JWS with this very header and payload. Text is taken as JSON as it stands, so that no detail of it is lost. */
export function mint(key: SigningKey, claims: object | string, header: Readonly<Record<string, unknown>> = {}): string {
  const parameters = { alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header }
  const input = `${encode(parameters)}.${encode(claims)}`
  return `${input}.${signAs(key, input).toString('base64url')}`
}

export function encode(value: object | string): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

function signAs({ alg, privateKey }: SigningKey, input: string): Buffer {
  const data = Buffer.from(input)
  const hash = `sha${alg.slice(2)}`
  if (alg === 'EdDSA' || alg === 'Ed25519') return sign(null, data, privateKey)
  if (alg.startsWith('ES')) return sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  if (alg.startsWith('RS')) return sign(hash, data, privateKey)
  return sign(hash, data, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
}
