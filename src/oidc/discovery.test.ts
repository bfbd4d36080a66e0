/**
 * What is believed of a provider's metadata when the provider itself is reached over HTTPS. The wire is replaced; the rest is real.
 */

import { pino } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type ProviderConfiguration, Secret } from '../config/instance.ts'
import { permitsHttp, startDiscovery } from './discovery.ts'

const configuration: ProviderConfiguration = {
  issuer: new URL('https://idp.example'),
  preset: undefined,
  clientId: 'postern',
  clientSecret: new Secret('secret'),
  clientKeyFile: undefined,
  scopes: ['openid'],
  claims: { groups: [], deviceId: undefined, posture: new Map() },
  groups: { stripPrefix: '', names: new Map() },
  groupsWhenMissing: 'unknown',
  email: 'verified',
  providerGraceSeconds: 3600,
  withoutRefreshToken: 'accept',
  dangerouslyAllowHttp: false,
  strengths: new Map(),
}
const metadata: Readonly<Record<string, unknown>> = {
  issuer: 'https://idp.example',
  authorization_endpoint: 'https://idp.example/authorize',
  token_endpoint: 'https://idp.example/token',
  jwks_uri: 'https://idp.example/jwks',
}

/** Serves `documents` one after the other, the last one for ever. */
function discover(documents: readonly unknown[], settings = configuration) {
  let asked = 0
  const discovery = startDiscovery({
    configuration: settings,
    providerFetch: {
      fetch: () => {
        const document = documents[Math.min(asked, documents.length - 1)]
        asked += 1
        return Promise.resolve(Response.json(document))
      },
      close: () => undefined,
    },
    timeoutSeconds: 1,
    now: () => Date.now(),
    log: pino({ level: 'silent' }),
  })
  onTestFinished(() => discovery.close())
  return { discovery, asked: () => asked }
}

describe('metadata', () => {
  it('is believed, with and without the slash that a parsed URL adds to a bare origin', async () => {
    for (const issuer of ['https://idp.example', 'https://idp.example/']) {
      const { discovery } = discover([{ ...metadata, issuer }])
      await vi.waitUntil(() => discovery.find() !== undefined)
      expect(discovery.find()?.metadata.issuer).toBe(issuer)
    }
  })

  it.each([
    ['http://idp.example/jwks', 'jwks_uri'],
    ['http://idp.example/token', 'token_endpoint'],
    ['http://idp.example/authorize', 'authorization_endpoint'],
    ['http://idp.example/userinfo', 'userinfo_endpoint'],
    ['http://idp.example/end', 'end_session_endpoint'],
    ['https://user:password@idp.example/token', 'token_endpoint'],
    ['ftp://idp.example/jwks', 'jwks_uri'],
  ])('is not believed with %s as %s', async (url, name) => {
    const { discovery, asked } = discover([{ ...metadata, [name]: url }])
    await vi.waitUntil(() => asked() > 1)
    expect(discovery.find()).toBeUndefined()
  })

  it('is taken once it is right', async () => {
    const { discovery, asked } = discover([{ ...metadata, issuer: 'https://evil.example' }, [], metadata])
    await vi.waitUntil(() => discovery.find() !== undefined, { timeout: 5000 })
    expect(asked()).toBe(3)
  })
})

describe('plain HTTP to the provider', () => {
  it.each<[string, boolean, boolean]>([
    ['http://127.0.0.1:9', false, true],
    ['http://127.1.2.3:9', false, true],
    ['http://[::1]:9', false, true],
    ['http://localhost:9', false, true],
    ['http://idp.corp.localhost:9', false, true],
    ['http://idp.example', false, false],
    ['http://localhost.example', false, false],
    ['http://127.0.0.1.example', false, false],
    ['http://idp.example', true, true],
    ['https://idp.example', false, false],
    ['https://idp.example', true, false],
  ])('%s, with dangerously_allow_http %s: %s', (issuer, dangerouslyAllowHttp, expected) => {
    expect(permitsHttp({ ...configuration, issuer: new URL(issuer), dangerouslyAllowHttp })).toBe(expected)
  })
})
