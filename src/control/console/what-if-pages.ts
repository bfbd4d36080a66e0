/**
 * `/console/policy/what-if`: a request that nobody sent, or one that is on record, decided by the policy in force and by a draft beside it.
 *
 * A question changes nothing and stands in the address, so that it can be asked again and handed on. Whom it is about is on record before it is
 * answered; that is the business of the operation, as is who may ask about whom.
 */

import { addressOf } from '../operations/apps-schemas.ts'
import type { Refused } from '../operations/operation.ts'
import type { WhatIfOutput } from '../operations/what-if-schemas.ts'
import type { ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { type PolicyPagesPorts, refusedAnswer, whatIfHref } from './policy-page-parts.ts'
import { describeWhatIfPage, statusOfWhatIf, type WhatIfTyped, type WhatIfWords, whatIfFields } from './what-if-content.ts'

const mostWords = 60
const mostDrafts = 100
const mostUrls = 100
const listFields: ReadonlySet<string> = new Set(['groups', 'amr'])

/** Adds the page of what-if. */
export function mountWhatIfPages(routes: ConsoleRoutes, { carryOut, digest, document, history, whatIf }: PolicyPagesPorts): void {
  routes.get(whatIfHref, 'policy:read', async (request) => {
    const { asker, may, now } = request
    const typed = readTyped(request)
    const listed = await carryOut(history.listDrafts, { limit: mostDrafts }, asker)
    if (listed.outcome === 'refused') return refusedAnswer(listed)
    const isAsked = typed.request !== '' || typed.who !== '' || typed.url !== ''
    let answer: WhatIfOutput | undefined
    let refusal: Refused | undefined
    if (isAsked) {
      const asked = await carryOut(whatIf.whatIf, toInput(typed), asker)
      if (asked.outcome === 'refused') refusal = asked
      else answer = asked.value
    }
    if (refusal?.problem === 'not_permitted') return refusedAnswer(refusal)
    const content = describeWhatIfPage({
      typed,
      drafts: listed.value.entries,
      words: findWords(may('audit:read')),
      mayAskAboutPeople: may('audit:read'),
      answer,
      refusal,
      now,
    })
    return { kind: 'page', template: 'what-if', title: 'What if', section: 'policy', content, status: statusOfWhatIf(refusal) }
  })

  /** Names of people are for those who may read about people. */
  function findWords(mayReadPeople: boolean): WhatIfWords {
    const seen = (kind: Parameters<typeof digest.seen>[0]) => digest.seen(kind, '', mostWords).map(({ value }) => value)
    return {
      people: mayReadPeople ? seen('email') : [],
      urls: document().apps.slice(0, mostUrls).map(addressOf),
      groups: seen('group'),
      acr: seen('acr'),
      amr: seen('amr'),
      countries: seen('country'),
    }
  }
}

function readTyped({ query }: ConsoleRequest): WhatIfTyped {
  return Object.fromEntries(whatIfFields.map((field) => [field, (query.get(field) ?? '').trim()])) as Record<keyof WhatIfTyped, string>
}

/** As the operation takes it: what is empty is left out, what is a list comes apart at commas, and a browser's time is in UTC. */
function toInput({ at, request, websocket, ...typed }: WhatIfTyped): object {
  const { draft } = typed
  if (request !== '' && typed.who === '' && typed.url === '') return { request, ...(draft === '' ? {} : { draft }) }
  const given = Object.entries({ ...typed, request }).filter(([, value]) => value !== '')
  const fields = given.map(([name, value]) => [name, listFields.has(name) ? partsOf(value) : value])
  const time = at === '' ? {} : { at: /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/.test(at) ? `${at.length === 16 ? `${at}:00` : at}Z` : at }
  return { ...Object.fromEntries(fields), ...time, ...(websocket === '' ? {} : { websocket: true }) }
}

function partsOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
