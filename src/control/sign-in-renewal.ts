/**
 * A sign-in that a page began for itself, in a hidden frame or a popup, and where its outcome goes: a page of ours on the app's origin.
 *
 * In a frame nobody can be asked anything and no page of ours would be seen, so every failure there is an outcome too: the provider's own
 * word (`login_required`, `interaction_required`; OpenID Connect Core §3.1.2.6), or our reason. A popup is a window like any other; its
 * failures are the pages that a person can act on, and only success is told.
 */

import type { Request, Response } from 'express'
import type { Answers } from './answers.ts'
import { findSingle, readQuery } from './request-context.ts'

export type Renewal = 'frame' | 'popup'

/** What the address says; `undefined` for an ordinary sign-in. */
export function readRenewal(request: Request): Renewal | undefined {
  const value = findSingle(readQuery(request), 'renewal')
  return value === 'frame' || value === 'popup' ? value : undefined
}

/** Tells the page that waits behind a frame what became of it. `returnTo` is checked: nothing but its origin is used. */
export function answerFrame(answers: Answers, response: Response, returnTo: string, outcome: string): void {
  const url = new URL('/.postern/renew', returnTo)
  url.search = new URLSearchParams({ mode: 'frame', outcome }).toString()
  answers.redirect(response, 303, url.href)
}
