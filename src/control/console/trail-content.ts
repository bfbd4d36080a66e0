/**
 * What the pages of the trail show: events as rows, filters as they stand in the address, and what a search found or how far it looked.
 *
 * Pure. Every text may have been chosen by a stranger: rows are plain text for the template (or the page's script) to print, and an address is
 * made of parts that went through `encodeURIComponent`, never out of what a line says as it is.
 */

import { refOf } from '../../administration/person-ref.ts'
import { type InstantView, instantView } from './instants.ts'

/** An event as the operation hands it out. */
export interface TrailEventView {
  readonly chain: string
  readonly seq: number
  /** RFC 3339. */
  readonly at: string
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface Badge {
  readonly tone: 'good' | 'bad' | 'warn' | 'info' | 'quiet'
  readonly word: string
}

/** A name with where it leads; `undefined`: nowhere. */
export interface NamedLink {
  readonly text: string
  readonly href: string | undefined
}

export interface TrailRow {
  readonly key: string
  readonly time: InstantView | undefined
  /** The clock, to the second, in UTC. */
  readonly clock: string
  readonly event: string
  readonly isDecision: boolean
  readonly who: NamedLink
  readonly app: NamedLink | undefined
  /** Of a decision `GET wiki.example/path`; of anything else what happened, in words. */
  readonly what: string
  readonly badge: Badge | undefined
  readonly reason: string | undefined
  readonly device: NamedLink | undefined
  readonly address: string | undefined
  /** To the explanation of the decision on the request that it is about. */
  readonly href: string | undefined
  /** What else the event says; a decision has a page for it. */
  readonly details: readonly { readonly name: string; readonly value: string }[]
}

const effects: Readonly<Record<string, Badge>> = {
  allow: { tone: 'good', word: 'allowed' },
  deny: { tone: 'bad', word: 'denied' },
  challenge: { tone: 'warn', word: 'challenged' },
}

/** How a decision came out. A word of another version is shown as it is. */
export function effectBadge(effect: string): Badge {
  return Object.hasOwn(effects, effect) ? (effects[effect] ?? { tone: 'quiet', word: effect }) : { tone: 'quiet', word: effect }
}

/** `session.started` as `session started`. */
export function eventWords(event: string): string {
  return event.replace(/[._]/g, ' ')
}

/** Longer than anybody reads in a list; the whole stands in the line. */
const longestShown = 400

/** An event as a row of the list. `wordsOf`: what a reason means. */
export function describeTrailRow(entry: TrailEventView, now: number, wordsOf: (reason: string) => string): TrailRow {
  const { at, chain, event, fields, seq } = entry
  const isDecision = event === 'access.decided'
  const request = textIn(fields, 'request')
  const effect = textIn(fields, 'effect')
  const reason = textIn(fields, 'reason') ?? textIn(fields, 'cause')
  const app = textIn(fields, 'app')
  const device = textIn(fields, 'device')
  return {
    key: `${chain}:${seq}`,
    time: instantView(Date.parse(at), now),
    clock: at.slice(0, 19).replace('T', ' '),
    event,
    isDecision,
    who: whoOf(fields),
    app: app === undefined ? undefined : { text: app, href: `/console/apps/${encodeURIComponent(app)}` },
    what: isDecision ? requestLine(fields) : capital(eventWords(event)),
    badge: isDecision ? effectBadge(effect ?? '') : undefined,
    reason: reason === undefined ? undefined : isDecision ? (emptyToUndefined(wordsOf(reason)) ?? reason) : reason,
    device: device === undefined ? undefined : { text: device, href: `/console/devices/${encodeURIComponent(device)}` },
    address: textIn(fields, 'address'),
    href: request !== undefined && aboutDecisions.has(event) ? decisionHref(request) : undefined,
    details: isDecision ? [] : detailsOf(fields),
  }
}

/** Where a decision is explained. */
export function decisionHref(request: string): string {
  return `/console/trail/decisions/${encodeURIComponent(request)}`
}

const aboutDecisions: ReadonlySet<string> = new Set(['access.decided', 'access.ended'])

/** A person leads to their page, whoever administered is named as the trail names them. */
export function whoOf(fields: Readonly<Record<string, unknown>>): NamedLink {
  const subject = fields['subject']
  const named = typeof subject === 'object' && subject !== null ? (subject as Readonly<Record<string, unknown>>) : {}
  const [kind, issuer, sub, email] = ['kind', 'issuer', 'sub', 'email'].map((name) => textIn(named, name))
  const href = kind === 'person' && issuer !== undefined && sub !== undefined ? `/console/people/${refOf({ issuer, sub })}` : undefined
  const text = email ?? sub ?? textIn(fields, 'actor') ?? (kind === 'nobody' ? 'nobody signed in' : undefined) ?? textIn(fields, 'email')
  return { text: cut(text ?? '–'), href }
}

function requestLine(fields: Readonly<Record<string, unknown>>): string {
  const query = textIn(fields, 'query')
  const line = `${textIn(fields, 'method') ?? ''} ${textIn(fields, 'host') ?? ''}${textIn(fields, 'path') ?? ''}`
  return cut(query === undefined ? line : `${line}?${query}`)
}

const shownAlready: ReadonlySet<string> = new Set(['subject', 'actor', 'app', 'device', 'address', 'cause'])

function detailsOf(fields: Readonly<Record<string, unknown>>) {
  return Object.entries(fields)
    .filter(([name]) => !shownAlready.has(name))
    .map(([name, value]) => ({
      name: name.replaceAll('_', ' '),
      value: cut(typeof value === 'string' ? value : (JSON.stringify(value) ?? '')),
    }))
}

/** The filters that a form of the trail has. */
export const filterNames = ['subject', 'app', 'effect', 'reason', 'device', 'request', 'event', 'since', 'until', 'where'] as const

export type TrailFilters = Readonly<Partial<Record<(typeof filterNames)[number], string>>>

/** What stands in the address, empty fields left out. What a browser's field for time says is in UTC. */
export function readFilters(query: URLSearchParams): TrailFilters {
  const found: Partial<Record<(typeof filterNames)[number], string>> = {}
  for (const name of filterNames) {
    const value = query.get(name)?.trim()
    if (value !== undefined && value !== '') found[name] = name === 'since' || name === 'until' ? toInstantText(value) : value
  }
  return found
}

/** `2026-11-22T14:05`, as a field of the form has it, as an instant; everything else as it is. */
function toInstantText(value: string): string {
  if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/.test(value)) return `${value}:00Z`
  if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$/.test(value)) return `${value}Z`
  return value
}

/** An instant as a field of the form wants it. */
export function fieldTime(instant: string | undefined): string {
  const at = instant === undefined ? Number.NaN : Date.parse(instant)
  return Number.isNaN(at) ? '' : new Date(at).toISOString().slice(0, 16)
}

/** The filters as an address of `path`, with more of it. */
export function filtersHref(path: string, filters: TrailFilters, more: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({ ...filters, ...more }).toString()
  return query === '' ? path : `${path}?${query}`
}

/** What somebody typed into the search of the frame, as a filter. */
export function guessFilter(q: string): TrailFilters {
  const text = q.trim()
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text)) return { request: text }
  if (/^[a-z_]+\.[a-z_]+$/.test(text)) return { event: text }
  return text === '' ? {} : { subject: text }
}

function textIn(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined
  return typeof value === 'string' && value !== '' ? value : undefined
}

function cut(text: string): string {
  return text.length > longestShown ? `${text.slice(0, longestShown)}…` : text
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`
}

function emptyToUndefined(text: string): string | undefined {
  return text === '' ? undefined : text
}
