/**
 * How an attack case is written: a number, a class, what is sent, and what came out of it.
 *
 * The numbers are stable names of cases. The outcome is recorded by the case itself from what it saw, so that `npm run attacks` prints
 * evidence and not a promise.
 */

import { test } from 'vitest'
import type { Client } from '../support/client.ts'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import type { Rig } from '../support/rig.ts'

declare module 'vitest' {
  interface TaskMeta {
    outcome?: string
  }
}

/** One case. `run` throws if the outcome is not safe, and returns what was seen in a few words. */
export function attack(number: string, kind: string, title: string, run: () => Promise<string>): void {
  test(`${number} ${kind} ${title}`, async ({ task }) => {
    task.meta.outcome = await run()
  })
}

/** The `Cookie` header of a signed-in browser for one app. */
export async function signedInCookie(rig: Rig, client: Client, person: string, url: string): Promise<string> {
  const answer = await rig.signIn(client, person, url)
  if (answer.status !== 200) throw new Error(`${person} could not sign in at ${url}: ${answer.status}\n${answer.trail.join('\n')}`)
  return client.cookieHeader(url)
}

/** Sends one raw request line with headers; `Host` of the app, and `Connection: close`, unless the lines bring their own. */
export function sendLine(
  rig: Rig,
  line: string,
  headers: readonly string[] = [],
  options: { readonly host?: string; readonly body?: string } = {},
): Promise<RawAnswer> {
  const host = options.host ?? `app.corp.localhost:${rig.port}`
  const all = [...(headers.some((header) => /^host:/i.test(header)) ? [] : [`Host: ${host}`]), ...headers]
  return sendRaw(`${line}\r\n${all.join('\r\n')}\r\n\r\n${options.body ?? ''}`, { port: rig.port })
}

/** The safe answers to a request that may not pass: a redirect to sign-in, a refusal, or a malformed request's 400 or 405. */
export const refusals = [302, 303, 400, 401, 403, 404, 405, 421, 431]

/** Throws unless every answer is a refusal and the upstream received nothing at all. */
export function mustBeRefused(rig: Rig, answer: RawAnswer, what: string, upstream = 'app'): string {
  const bytes = rig.upstream(upstream).bytes()
  if (bytes !== '') throw new Error(`${what}: the upstream received ${JSON.stringify(bytes.slice(0, 300))}`)
  if (answer.statuses.length === 0 && !answer.closed) throw new Error(`${what}: no answer, and the connection stayed open`)
  for (const status of answer.statuses) if (!refusals.includes(status)) throw new Error(`${what}: answered ${status}`)
  return `${[...new Set(answer.statuses)].join('/') || 'closed'}, upstream 0 bytes`
}

/** Joins outcomes of many inputs: each distinct one once, with its count. */
export function summarise(outcomes: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  return [...counts].map(([outcome, count]) => `${count}× ${outcome}`).join('; ')
}

/** Fails if an instance crashed, or logged what only a programming mistake logs. */
export function mustBeAlive(rig: Rig): void {
  if (!rig.instance.isRunning()) throw new Error(`postern ended:\n${rig.instance.log()}`)
  if (/uncaught error|unhandledRejection/.test(rig.instance.log()))
    throw new Error(`postern logged an uncaught error:\n${rig.instance.log()}`)
}

/**
 * Looks at what a whole file of cases left in the audit trail, then stops the rig: every line parses (reading them throws otherwise), has
 * an event and a time, and no request was decided twice.
 */
export async function endRig(rig: Rig | undefined): Promise<void> {
  // It never started: the reason was told by whoever tried.
  if (rig === undefined) return
  try {
    const decided = new Set<unknown>()
    for (const line of await rig.audit()) {
      if (typeof line['event'] !== 'string' || Number.isNaN(Date.parse(String(line['at']))))
        throw new Error(`not an audit line: ${JSON.stringify(line)}`)
      if (line['event'] !== 'access.decided') continue
      if (decided.has(line['request'])) throw new Error(`decided twice: ${JSON.stringify(line)}`)
      decided.add(line['request'])
    }
  } finally {
    await rig.stop()
  }
}
