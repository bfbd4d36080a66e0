/**
 * The composed system with services: an app with a path for callers without a browser, two issuers of access tokens that write down what they are
 * asked, and a server that nobody should ever be led to.
 */

import { expect } from 'vitest'
import { createSigningKey, type SigningKey, startIssuer, type TestIssuer } from '../../src/attributes/service-issuer.fixture.ts'
import { endRig, mustBeAlive, mustBeRefused, sendLine, summarise } from '../attacks/attack.ts'
import { type ForeignServer, startForeignServer } from './foreign-server.ts'
import type { RawAnswer } from './raw.ts'
import { type Rig, startRig } from './rig.ts'

/** Where services `internal` and `fragile` may read, and staff too. */
export const data = '/api/internal/rows'

export interface TokenRig {
  readonly rig: Rig
  readonly issuer: TestIssuer
  /** Issuer of one service, for what would disturb the others: its keys go away. */
  readonly fragile: TestIssuer
  readonly foreign: ForeignServer
  readonly rsa: SigningKey
  readonly es: SigningKey
  /** Published as well, and too short to be believed. */
  readonly weak: SigningKey
  /** Claims that pass, but for the changes. */
  claims(changes?: Readonly<Record<string, unknown>>): Record<string, unknown>
  /** Asks for `data` with this token. */
  present(token: string): Promise<RawAnswer>
  /** Fails unless every token is refused with this status, as a program would be: never with a way to sign in. */
  allRefused(tokens: Readonly<Record<string, string>>, status?: number): Promise<string>
  mustPass(token: string): Promise<void>
  /** What has to hold after each case. */
  check(): void
  stop(): Promise<void>
}

export async function startTokenRig(): Promise<TokenRig> {
  const issuer = await startIssuer()
  const fragile = await startIssuer()
  const foreign = await startForeignServer()
  const rsa = createSigningKey('RS256', 'rsa-1')
  const es = createSigningKey('ES256', 'es-1')
  const weak = createSigningKey('RS256', 'weak-1', 1024)
  issuer.keys = [rsa.jwk, es.jwk, weak.jwk, { ...es.jwk, kid: 'short-1', x: String(es.jwk.x).slice(4) }]
  fragile.keys = [es.jwk]
  const jwt = { audience: 'internal-services', scopes_all: ['data:read'] }
  const rig = await startRig({
    policy: { services: { internal: { jwt: { ...jwt, issuer: issuer.issuer } }, fragile: { jwt: { ...jwt, issuer: fragile.issuer } } } },
    apps: [
      {
        id: 'app',
        rules: [
          { name: 'internal data', allow: { services: ['internal', 'fragile'] }, methods: ['read'], paths: ['/api/internal/*'] },
          { name: 'staff', allow: { groups: ['staff'] }, paths: ['/ok', '/api/internal/*'] },
        ],
      },
    ],
  })
  const upstream = rig.upstream('app')
  const present = (token: string) => sendLine(rig, `GET ${data} HTTP/1.1`, [`Authorization: Bearer ${token}`, 'Connection: close'])

  return {
    ...{ rig, issuer, fragile, foreign, rsa, es, weak, present },
    claims: (changes = {}) => {
      const now = Math.floor(Date.now() / 1000)
      return { iss: issuer.issuer, aud: 'internal-services', sub: 'nightly', scope: 'data:read', iat: now, exp: now + 300, ...changes }
    },
    allRefused: async (tokens, status = 401) => {
      const outcomes: string[] = []
      for (const [what, token] of Object.entries(tokens)) {
        const answer = await present(token)
        outcomes.push(mustBeRefused(rig, answer, what))
        expect(answer.statuses, what).toEqual([status])
        expect(answer.text, what).not.toMatch(/^location:/im)
      }
      return summarise(outcomes)
    },
    mustPass: async (token) => {
      upstream.reset()
      expect((await present(token)).statuses).toEqual([200])
      expect(upstream.bytes()).not.toContain(token)
      upstream.reset()
    },
    check: () => {
      mustBeAlive(rig)
      expect(foreign.received).toEqual([])
    },
    stop: async () => {
      try {
        await endRig(rig)
      } finally {
        for (const server of [issuer, fragile, foreign]) await server.close()
      }
    },
  }
}
