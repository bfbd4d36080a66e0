/**
 * Access tokens of callers without a browser, forged in every known way, on the paths whose rules name a service. The issuer is a real server
 * and writes down what it is asked; so does a server that nobody should ever be led to. The upstream says what got through.
 */

import { createHmac, sign } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { createSigningKey, encode, mint, type SigningKey, startIssuer } from '../../src/attributes/service-issuer.fixture.ts'
import { forgetPeak, readMemory } from '../support/process-facts.ts'
import { startRig } from '../support/rig.ts'
import { data, startTokenRig, type TokenRig } from '../support/token-rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, summarise } from './attack.ts'

describe('bearer tokens', () => {
  let tokens: TokenRig
  beforeAll(async () => {
    tokens = await startTokenRig()
  })
  afterAll(() => tokens?.stop())
  beforeEach(() => tokens.rig.upstream('app').reset())
  afterEach(() => tokens.check())

  /** A token with this header whose signature is whatever these bytes are. */
  function forge(header: object, signature: (input: string) => Buffer | string, payload: object | string = tokens.claims()): string {
    const input = `${encode(header)}.${encode(payload)}`
    const bytes = signature(input)
    return `${input}.${typeof bytes === 'string' ? bytes : bytes.toString('base64url')}`
  }

  attack('A191', 'JWT', 'alg none in every spelling, no signature, two parts, five parts', async () => {
    const { rsa, claims, allRefused, mustPass } = tokens
    await mustPass(mint(rsa, claims()))
    const good = mint(rsa, claims())
    const [head = '', body = ''] = good.split('.')
    return await allRefused({
      none: forge({ alg: 'none', typ: 'at+jwt' }, () => ''),
      None: forge({ alg: 'None' }, () => ''),
      nOnE: forge({ alg: 'nOnE', kid: rsa.kid }, () => 'AAAA'),
      'no alg': forge({ kid: rsa.kid }, () => 'AAAA'),
      'empty signature': `${head}.${body}.`,
      'two parts': `${head}.${body}`,
      'five parts': `${good}.AAAA.AAAA`,
      'no parts': 'x',
    })
  })

  attack('A192', 'JWT', 'HMAC with the public key', async () => {
    const { rsa, allRefused } = tokens
    const { publicKey, jwk } = rsa
    const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
    const secrets = {
      pem,
      'pem without its last line end': pem.trim(),
      pkcs1: publicKey.export({ type: 'pkcs1', format: 'pem' }),
      der: publicKey.export({ type: 'spki', format: 'der' }),
      modulus: Buffer.from(String(jwk.n), 'base64url'),
      'modulus as text': String(jwk.n),
      jwk: JSON.stringify(jwk),
    }
    const forged = Object.entries(secrets).flatMap(([what, secret]) =>
      ['HS256', 'HS512', 'RS256'].map((alg) => {
        const hash = `sha${alg.slice(2)}`
        return [`${alg} ${what}`, forge({ alg, kid: rsa.kid }, (input) => createHmac(hash, secret).update(input).digest())] as const
      }),
    )
    return await allRefused(Object.fromEntries(forged))
  })

  attack('A193', 'JWT', 'tokens that bring their own key, or say where to fetch one', async () => {
    const { issuer, foreign, rsa, claims, allRefused } = tokens
    const own = createSigningKey('RS256', 'evil')
    const asked = issuer.asked.length
    const outcome = await allRefused({
      jwk: mint(own, claims(), { jwk: own.jwk }),
      'jwk under a known kid': mint(own, claims(), { jwk: own.jwk, kid: rsa.kid }),
      x5c: mint(own, claims(), { x5c: [own.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] }),
      jku: mint(own, claims(), { jku: `${foreign.origin}/jwks` }),
      'jku that begins like the issuer': mint(own, claims(), { jku: `${issuer.issuer}@${foreign.origin.slice(7)}/jwks` }),
      x5u: mint(own, claims(), { x5u: `${foreign.origin}/cert` }),
      'issuer elsewhere': mint(own, claims({ iss: foreign.origin })),
      'jwks_uri as a claim': mint(own, claims({ iss: foreign.origin, jwks_uri: `${foreign.origin}/jwks` })),
    })
    expect(issuer.asked.length).toBe(asked)
    return `${outcome}; nobody was asked for a key`
  })

  attack('A194', 'JWT', 'kid as a path, a query, a prototype, too long, not text', async () => {
    const { rsa, claims, allRefused } = tokens
    const kids = [
      '../../dev/null',
      "' OR 1=1",
      '__proto__',
      'constructor',
      'toString',
      '\u0000',
      'k'.repeat(6000),
      1,
      ['rsa-1'],
      {},
      '',
      null,
    ]
    return await allRefused(Object.fromEntries(kids.map((kid, index) => [`kid ${index}`, mint(rsa, claims(), { kid })])))
  })

  attack('A196', 'JWT', 'another audience, another issuer, or none: a signature alone proves nothing', async () => {
    const { rig, issuer, fragile, rsa, claims, allRefused } = tokens
    return await allRefused({
      'no audience': mint(rsa, claims({ aud: undefined })),
      'audience of another app': mint(rsa, claims({ aud: 'payroll' })),
      'audience in capitals': mint(rsa, claims({ aud: 'INTERNAL-SERVICES' })),
      'a longer audience': mint(rsa, claims({ aud: 'internal-services-2' })),
      'an audience that is a map': mint(rsa, claims({ aud: { 'internal-services': true } })),
      'no issuer': mint(rsa, claims({ iss: undefined })),
      'another issuer': mint(rsa, claims({ iss: 'https://evil.test' })),
      'the issuer with a slash': mint(rsa, claims({ iss: `${issuer.issuer}/` })),
      'a list of issuers': mint(rsa, claims({ iss: [issuer.issuer] })),
      'our access host': mint(rsa, claims({ iss: rig.origin('access') })),
      'the key of one issuer for another': mint(rsa, claims({ iss: fragile.issuer })),
    })
  })

  attack('A197', 'JWT', 'times that are missing, text, negative, in milliseconds, past or yet to come', async () => {
    const { rsa, claims, allRefused, mustPass } = tokens
    const now = Math.floor(Date.now() / 1000)
    const outcome = await allRefused({
      'no exp': mint(rsa, claims({ exp: undefined })),
      'exp as text': mint(rsa, claims({ exp: String(now + 300) })),
      'negative exp': mint(rsa, claims({ exp: -now })),
      'exp in milliseconds': mint(rsa, claims({ exp: (now + 300) * 1000 })),
      'exp of 2^53': mint(rsa, claims({ exp: 2 ** 53 })),
      'exp of 1e400': mint(rsa, JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e400')),
      'a fraction of the past': mint(rsa, claims({ exp: now - 120.5 })),
      'exp null': mint(rsa, claims({ exp: null })),
      'exp two minutes ago': mint(rsa, claims({ exp: now - 120 })),
      'nbf in an hour': mint(rsa, claims({ nbf: now + 3600 })),
      'nbf as text': mint(rsa, claims({ nbf: '0' })),
      'iat in an hour': mint(rsa, claims({ iat: now + 3600 })),
      'two exp, the last one past': mint(
        rsa,
        JSON.stringify(claims())
          .replace('{', `{"exp":${now + 300},`)
          .replace(/,"exp":\d+}$/, `,"exp":1}`),
      ),
    })
    await mustPass(mint(rsa, claims({ exp: now - 30, nbf: now + 30, iat: now + 30 })))
    // RFC 7519 §2 lets a time have a fraction.
    await mustPass(mint(rsa, claims({ exp: now + 30.5 })))
    return `${outcome}; within 60 s it passes`
  })

  attack('A199', 'JWT', 'encryption, compression bombs, costly key derivation, tokens in tokens', async () => {
    const { rig, rsa, claims, allRefused } = tokens
    await forgetPeak(rig.instance.pid)
    const before = await readMemory(rig.instance.pid)
    let nested = mint(rsa, claims())
    const layers: Record<string, string> = {}
    for (let depth = 1; encode(nested).length < 7000; depth += 1) {
      nested = mint(rsa, nested, { cty: 'JWT' })
      layers[`nested ${depth} deep`] = nested
    }
    const forged: Record<string, string> = {
      ...layers,
      'a JWE of five parts': [encode({ alg: 'RSA-OAEP', enc: 'A256GCM' }), 'AAAA', 'AAAA', 'AAAA', 'AAAA'].join('.'),
      'PBES2 with two thousand million rounds': [encode({ alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 2_147_483_647 }), ...'AAAA'].join(
        '.',
      ),
      'the same in three parts': forge({ alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 2_147_483_647 }, () => 'AAAA'),
      zip: mint(rsa, claims(), { zip: 'DEF' }),
      crit: mint(rsa, claims(), { crit: ['exp'], exp: 1 }),
      b64: mint(rsa, claims(), { crit: ['b64'], b64: false }),
      'deep JSON': mint(rsa, `{"x":${'['.repeat(2500)}${']'.repeat(2500)}}`),
      'larger than 8 KiB': mint(rsa, claims({ x: 'x'.repeat(9000) })),
    }
    const outcome = await allRefused(forged)
    const slowest: number[] = []
    for (const token of Object.values(forged)) {
      const begun = performance.now()
      const answer = await sendLine(rig, `GET ${data} HTTP/1.1`, [`Authorization: Bearer ${token}`, 'Connection: close'])
      expect(answer.closed).toBe(true)
      slowest.push(performance.now() - begun)
    }
    const after = await readMemory(rig.instance.pid)
    expect(after.peak - before.resident).toBeLessThan(64)
    return `${outcome}; slowest ${Math.max(...slowest).toFixed(0)} ms with its connection`
  })

  attack('A201', 'JWT', 'psychic and misshapen signatures, keys of another kind, weak keys', async () => {
    const { rsa, es, weak, claims, allRefused, mustPass } = tokens
    const header = { alg: 'ES256', kid: es.kid, typ: 'at+jwt' }
    const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
    const outcome = await allRefused({
      'r = s = 0': forge(header, () => Buffer.alloc(64)),
      'r = s = n': forge(header, () => Buffer.from(order.repeat(2), 'hex')),
      DER: forge(header, (input) => sign('sha256', Buffer.from(input), es.privateKey)),
      '63 bytes': forge(header, () => Buffer.alloc(63, 7)),
      '65 bytes': forge(header, (input) => Buffer.concat([raw(es, input), Buffer.alloc(1)])),
      'EdDSA with the EC key': forge({ ...header, alg: 'EdDSA' }, (input) => raw(es, input)),
      'ES384 with the key of ES256': forge({ ...header, alg: 'ES384' }, (input) => raw(es, input)),
      'ES256 with the RSA key': forge({ ...header, kid: rsa.kid }, (input) => sign('sha256', Buffer.from(input), rsa.privateKey)),
      'PS256 with a key for RS256': mint({ ...rsa, alg: 'PS256' }, claims()),
      'RSA of 1024 bits': mint(weak, claims()),
      'a short coordinate': mint({ ...es, kid: 'short-1' }, claims()),
    })
    await mustPass(mint(es, claims()))
    return outcome
  })

  attack('A204', 'JWT', 'a key that was rotated out, within the life of its token', async () => {
    const { fragile, es, claims, allRefused, mustPass } = tokens
    const next = createSigningKey('ES256', 'next-1')
    const token = mint(es, claims({ iss: fragile.issuer }))
    await mustPass(token)
    await mustPass(token)
    fragile.keys = [next.jwk]
    await mustPass(mint(next, claims({ iss: fragile.issuer })))
    const outcome = await allRefused({
      'the old key': token,
      'the old key, another token': mint(es, claims({ iss: fragile.issuer, jti: 1 })),
    })
    return `${outcome}; the new key counted at once`
  })

  attack('A204b', 'JWT', 'a flood of unknown kids is no flood of questions', async () => {
    const { rig, issuer, rsa, claims, present, mustPass } = tokens
    const asked = issuer.asked.length
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => present(mint(rsa, claims(), { kid: `unknown-${index}` }))))
    const outcome = summarise(answers.map((answer) => mustBeRefused(rig, answer, 'unknown kid')))
    expect(issuer.asked.length - asked).toBeLessThanOrEqual(2)
    await mustPass(mint(rsa, claims({ jti: 'after the flood' })))
    return `${outcome}; ${issuer.asked.length - asked} reads of the key set`
  })

  attack('A204c', 'JWT', 'keys that cannot be had are a refusal', async () => {
    const { es, claims } = tokens
    const away = await startIssuer()
    const jwt = { issuer: away.issuer, audience: 'internal-services', scopes_all: ['data:read'] }
    const rules = [{ name: 'internal data', allow: { services: ['away'] }, paths: ['/api/**'] }]
    const other = await startRig({ policy: { services: { away: { jwt } } }, apps: [{ id: 'app', rules }] })
    try {
      const statuses: number[] = []
      for (const answer of [undefined, '<html>', '{"keys":{}}'] as const) {
        away.answer = (response) => (answer === undefined ? response.socket?.destroy() : response.end(answer))
        const token = mint(es, claims({ iss: away.issuer }))
        const refused = await sendLine(other, `GET ${data} HTTP/1.1`, [`Authorization: Bearer ${token}`, 'Connection: close'])
        statuses.push(...refused.statuses)
      }
      expect(statuses).toEqual([503, 503, 503])
      expect(other.upstream('app').bytes()).toBe('')
      // Asked once: the next tokens within five seconds are refused from memory.
      expect(away.asked.length).toBeLessThanOrEqual(2)
      mustBeAlive(other)
      return `${statuses.join('/')}, upstream 0 bytes, ${away.asked.length} questions`
    } finally {
      await endRig(other)
      await away.close()
    }
  })
})

function raw(key: SigningKey, input: string): Buffer {
  return sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
}
