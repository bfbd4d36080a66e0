/**
 * What operations about apps say, stated once, and an app of the document in those words. Secrets are named by their ids, and not shown.
 */

import { z } from 'zod'
import type { App } from '../../policy/document.ts'
import { instantText } from './paging.ts'

export const sensitivities = ['open', 'internal', 'confidential', 'restricted'] as const
/** One line that somebody typed. */
export const line = (most: number) => z.string().trim().max(most)

export const appSummary = z.strictObject({
  id: z.string(),
  name: z.string(),
  url: z.string(),
  sensitivity: z.enum(sensitivities),
  upstreams: z.array(z.string()),
  owner: z.string().nullable(),
  rules: z.number().int().meta({ description: 'Its own; those of the company come on top.' }),
  is_reporting: z.boolean().meta({ description: 'Whether it lets people pass that no rule allows yet, and records it.' }),
  activity: z.strictObject({
    allowed: z.number().int(),
    refused: z.number().int(),
    challenged: z.number().int(),
    people: z.number().int(),
    last_used_at: instantText.nullable(),
    last_refused_at: instantText.nullable(),
  }),
  health: z.strictObject({ state: z.enum(['good', 'failing', 'unknown']), detail: z.string().nullable() }),
  last_change: z.strictObject({ at: instantText, by: z.string(), revision: z.number().int() }).nullable(),
})

export const ruleStatement = z.strictObject({
  name: z.string(),
  verb: z.enum(['allow', 'deny', 'require']),
  sentence: z.string(),
  mode: z.enum(['enforce', 'report']),
  alert: z.boolean(),
})

/** The public address, as somebody would write it. */
export function addressOf({ address }: App): string {
  return `${address.origin}${address.prefix === '/' ? '' : address.prefix}`
}

/** What is not as it is for every app. */
export function optionsOf(app: App): readonly { readonly name: string; readonly value: string }[] {
  const seconds = (value: number | undefined) => (value === undefined ? undefined : `${value} s`)
  const headers = (list: App['setRequestHeaders']) => (list.length === 0 ? undefined : list.map(({ name }) => name).join(', '))
  const found: readonly (readonly [string, string | undefined])[] = [
    ['Session idle timeout', seconds(app.session.idleTimeoutSeconds)],
    ['Session lifetime', seconds(app.session.lifetimeSeconds)],
    ['Identity headers', app.identity.kind === 'none' ? 'none' : undefined],
    ['Host that the upstream sees', app.preserveHost ? undefined : 'its own'],
    ['Path prefix', app.stripPrefix ? 'cut before forwarding' : undefined],
    ['Authorization header', app.passAuthorization ? 'passed on' : undefined],
    ['Largest upload', app.maxBodyBytes === undefined ? undefined : `${app.maxBodyBytes} bytes`],
    ['Called by', app.calledBy.length === 0 ? undefined : app.calledBy.join(', ')],
    ['Posts from other sites', app.crossSitePosts.length === 0 ? undefined : app.crossSitePosts.join(', ')],
    ['Unusual paths', app.pathRules.length === 0 ? undefined : app.pathRules.join(', ')],
    ['Request headers set', headers(app.setRequestHeaders)],
    ['Request headers removed', app.removeRequestHeaders.length === 0 ? undefined : app.removeRequestHeaders.join(', ')],
    ['Response headers set', headers(app.setResponseHeaders)],
    ['Paths in the trail', app.audit.paths === 'full' ? undefined : app.audit.paths],
  ]
  return found.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value: value.slice(0, 500) }]))
}
