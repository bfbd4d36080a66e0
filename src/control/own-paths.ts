/**
 * The small paths that the access host shares with every app host: who am I, our keys, our assets; and what crawlers ask for.
 */

import type { Router } from 'express'
import type { DeviceReader } from '../attributes/device-facts.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Answers } from './answers.ts'
import { onlyMethods } from './guards.ts'
import { assetHeaders } from './page-headers.ts'
import type { PageRenderer } from './pages.ts'
import { emailOf, type ReadPerson } from './person.ts'
import type { SignedInRequests } from './signed-in.ts'

export interface OwnPathsPorts extends ReadPerson {
  readonly answers: Answers
  readonly keys: CurrentKeys
  readonly pages: PageRenderer
  readonly signedIn: SignedInRequests
  readonly devices: DeviceReader
  readonly sessionLimits: { readonly idleTimeoutSeconds: number; readonly lifetimeSeconds: number }
}

/** Adds what needs no session. */
export function mountPublicPaths(router: Router, { answers, keys, pages }: OwnPathsPorts): void {
  router.get('/.postern/jwks.json', (_request, response) => {
    const { current, next, previous } = keys().assertion
    const published = [previous, current, next].flatMap((key) => (key === undefined ? [] : [key.publicJwk]))
    // A key is published a quarter of an hour before it signs.
    response.set('Cache-Control', 'public, max-age=300')
    answers.json(response, { keys: published })
  })
  router.get('/.postern/assets/:name', (request, response, next) => {
    const asset = pages.findAsset(request.params.name)
    if (asset === undefined) return next()
    response.set({ ...assetHeaders, 'Content-Type': asset.type })
    response.send(asset.body)
  })
  // Pages name their own icon; this only keeps a browser's guess out of the log of things not found.
  router.get('/favicon.ico', (_request, response) => {
    response.status(204).set('Cache-Control', 'public, max-age=86400').end()
  })
  router.get('/robots.txt', (_request, response) => {
    response.type('text/plain').send('User-agent: *\nDisallow: /\n')
  })
  for (const path of ['/.postern/jwks.json', '/.postern/assets/:name', '/favicon.ico', '/robots.txt']) {
    router.post(path, onlyMethods('GET, HEAD', answers))
  }
}

/** Adds `whoami`, the public contract's own form: times in seconds, `null` where nothing is known. */
export function mountWhoami(router: Router, { answers, devices, readSubject, sessionLimits, signedIn }: OwnPathsPorts): void {
  router.get('/.postern/whoami', async (request, response) => {
    const { session, claimsState } = signedIn.get(request)
    const subject = readSubject(session, claimsState)
    const { device } = devices.recall(request, session, claimsState) ?? (await devices.read(request, session, claimsState))
    const { name } = claimsState === 'unknown' ? { name: undefined } : session.claims.all
    answers.json(response, {
      subject: session.sub,
      email: emailOf(subject) ?? null,
      name: typeof name === 'string' ? name : null,
      groups: subject.kind === 'person' && subject.groups.known ? subject.groups.value : null,
      session: {
        started_at: seconds(session.startedAt),
        ends_at: seconds(session.startedAt + sessionLimits.lifetimeSeconds * 1000),
        idle_ends_at: seconds(session.lastUsedAt + sessionLimits.idleTimeoutSeconds * 1000),
      },
      sign_in: { at: seconds(session.signIn.at), acr: session.signIn.acr ?? null, amr: session.signIn.amr },
      device: device.known ? { id: device.value.id, identified_by: device.value.identifiedBy, known: device.value.isKnown } : null,
      claims_at: seconds(session.claims.at),
    })
  })
}

function seconds(instant: number): number {
  return Math.floor(instant / 1000)
}
