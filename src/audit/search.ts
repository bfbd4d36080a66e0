/**
 * What a search of the trail asks for, as a selection of lines.
 *
 * Looking at bytes comes first: where everything that is wanted has a certain text in it, blocks are searched for that text, and only lines that
 * have it are parsed. Whether a line is wanted is always decided on the parsed line. Lines by which the trail holds itself together
 * (`facts.recorded`, `audit.segment_started`, `audit.checkpoint`) are left out unless they are asked for by name.
 */

import type { AuditEvent } from './event.ts'
import type { LineSelection } from './merged-lines.ts'
import { parseTrailLine, type TrailLine } from './trail-files.ts'

/** All that is given has to hold. */
export interface AuditQuery {
  /** An e-mail address if it contains `@`, else a `sub`. */
  readonly subject?: string | undefined
  readonly app?: string | undefined
  readonly effect?: string | undefined
  /** Of a decision or a failure; or the cause of an end. */
  readonly reason?: string | undefined
  /** Id in the inventory: what was decided on it, and what was done to it. */
  readonly device?: string | undefined
  readonly request?: string | undefined
  /** Any of these; left out or empty: all but the trail's own. */
  readonly events?: readonly string[] | undefined
}

const ownEvents: ReadonlySet<string> = new Set<AuditEvent['event']>(['facts.recorded', 'audit.segment_started', 'audit.checkpoint'])

/** Whether an event says nothing by itself: it is there for the lines around it. */
export function holdsTrailTogether(event: string): boolean {
  return ownEvents.has(event)
}

/** The query as a selection. It remembers what it saw of devices: make a new one for each reading. */
export function compileQuery(query: AuditQuery): LineSelection {
  const { app, device, effect, events = [], reason, request, subject } = query
  const wantedEvents = events.length === 0 ? undefined : new Set(events)
  const needles = [request, subject?.includes('@') === true ? undefined : subject, app, effect, reason].flatMap(needleFor)
  const email = subject === undefined ? undefined : emailPattern(subject)
  const tests: ((line: TrailLine) => boolean)[] = []
  if (request !== undefined) tests.push((line) => line['request'] === request)
  if (app !== undefined) tests.push((line) => line['app'] === app || isOn(line, 'app', app))
  if (effect !== undefined) tests.push((line) => line['effect'] === effect)
  if (reason !== undefined) tests.push((line) => line['reason'] === reason || line['cause'] === reason)
  if (subject !== undefined) tests.push(compileSubject(subject))
  const devices = device === undefined ? undefined : createDeviceFinder(device)
  if (devices !== undefined) tests.push(devices.isAbout)

  return {
    jump: devices === undefined ? jumpTo(needles[0], email) : undefined,
    isWanted(bytes) {
      const event = eventIn(bytes)
      if (event === 'facts.recorded') devices?.learn(bytes)
      if (wantedEvents === undefined ? ownEvents.has(event) : !wantedEvents.has(event)) return false
      if (tests.length === 0) return true
      if (!needles.every((needle) => bytes.includes(needle)) || devices?.mayBeAbout(bytes) === false) return false
      const line = parseTrailLine(bytes)
      return line !== undefined && tests.every((test) => test(line))
    },
  }
}

/** The text as it stands in a line, quotes included. Of one that a line would cut or escape, nothing certain is known. */
function needleFor(text: string | undefined): Buffer[] {
  return text !== undefined && text.length <= 64 && /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/.test(text) ? [Buffer.from(`"${text}"`)] : []
}

/** Providers write addresses in capitals or not; beyond ASCII bytes do not tell. */
function emailPattern(subject: string): RegExp | undefined {
  return subject.includes('@') && /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(subject)
    ? new RegExp(`"${subject.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}"`, 'gi')
    : undefined
}

function jumpTo(needle: Buffer | undefined, pattern: RegExp | undefined): LineSelection['jump'] {
  if (needle !== undefined) return (block, from) => block.indexOf(needle, from)
  if (pattern === undefined) return undefined
  let block: Buffer | undefined
  let text = ''
  return (one, from) => {
    if (one !== block) {
      block = one
      // One character a byte, so that places in the text are places in the block.
      text = one.toString('latin1')
    }
    pattern.lastIndex = from
    return pattern.exec(text)?.index ?? -1
  }
}

const eventMark = Buffer.from('"event":"')

/** The event of a line, from its first bytes; empty for what has none there. */
export function eventIn(line: Buffer): string {
  const mark = line.subarray(0, 160).indexOf(eventMark)
  if (mark === -1) return ''
  const from = mark + eventMark.length
  return line.toString('latin1', from, Math.max(from, line.indexOf(34, from)))
}

/** Events whose `target` is a person. */
const aboutSomebody: ReadonlySet<unknown> = new Set(['sessions.revoked', 'connection.cut', 'access.request_answered', 'data.read'])

/** Whom a line is about: the one who did it, the one it was done to, the one that was asked about. */
function compileSubject(wanted: string): (line: TrailLine) => boolean {
  const email = wanted.includes('@') ? wanted.toLowerCase() : undefined
  const isWanted = (text: unknown) => typeof text === 'string' && (email === undefined ? text === wanted : text.toLowerCase() === email)
  return (line) => {
    const subject = (line['subject'] ?? {}) as Readonly<Record<string, unknown>>
    const names = email === undefined ? [subject['sub'], line['sub']] : [subject['email'], line['email']]
    if (names.some(isWanted)) return true
    const isOnPerson = line['on'] === 'subject' || aboutSomebody.has(line['event'])
    return isOnPerson && (isWanted(line['target']) || isWanted(line['label']))
  }
}

function isOn(line: TrailLine, kind: string, name: string): boolean {
  return line['on'] === kind && line['target'] === name
}

/** A decision names its device by a hash; the line with that hash, before it in the same segment, says which device that is. */
function createDeviceFinder(id: string) {
  const hashes = new Set<string>()
  const deviceOf = (line: TrailLine) => {
    const facts = line['facts']
    return typeof facts === 'object' && facts !== null ? (facts as Readonly<Record<string, unknown>>)['device'] : undefined
  }
  return {
    learn(bytes: Buffer): void {
      if (!bytes.includes('"kind":"device"')) return
      const { facts, hash } = parseTrailLine(bytes) ?? {}
      const device = typeof facts === 'string' ? parseTrailLine(facts) : undefined
      const stated = device?.['known'] === true ? (device['value'] as Readonly<Record<string, unknown>>) : undefined
      if (stated?.['id'] === id && typeof hash === 'string') hashes.add(hash)
    },
    /** Cheap, for most lines are about other devices. */
    mayBeAbout(bytes: Buffer): boolean {
      const mark = bytes.lastIndexOf('"device":"')
      if (mark === -1) return bytes.includes('"on":"device"') || bytes.includes('"data.read"')
      const from = mark + '"device":"'.length
      const named = bytes.toString('utf8', from, bytes.indexOf(34, from))
      return hashes.has(named) || named === id || named.includes('\\')
    },
    isAbout(line: TrailLine): boolean {
      const hash = deviceOf(line)
      if (typeof hash === 'string') return line['device'] === id || hashes.has(hash)
      return line['device'] === id || isOn(line, 'device', id) || (line['event'] === 'data.read' && line['target'] === id)
    },
  }
}
