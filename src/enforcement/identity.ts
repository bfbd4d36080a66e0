/**
 * Who is asking, as the upstream is told: one statement, from which the header lines, the assertion and `whoami` are all made.
 *
 * Made only after `allow`, and kept for a minute per session and app, because a signature costs more than the rest of a request.
 * Trusts subject facts alone: an address that nobody vouched for, and claims that are too old, are not stated at all. Values are
 * UTF-8 on the wire. A value that a header line cannot carry as it is (a control character, a space at its ends) is not carried at all:
 * mended, it would be the name of somebody else.
 */

import { findClaim } from '../policy/claim-path.ts'
import type { App, IdentitySetting } from '../policy/document.ts'
import type { Device, Known, SubjectFacts } from '../policy/facts.ts'
import type { Session } from '../session/session.ts'
import { hashSessionId } from '../session/session-record.ts'
import type { HeaderLine } from './exchange.ts'
import type { AssertionSigner } from './identity-assertion.ts'
import type { Route } from './route-table.ts'

export type Person = Extract<SubjectFacts, { kind: 'person' }>

/** What one app is told about a person. A field that is not known is absent everywhere. */
export interface IdentityStatement {
  readonly sub: string
  readonly email: string | undefined
  readonly name: string | undefined
  readonly preferredUsername: string | undefined
  readonly groups: readonly string[] | undefined
  /** The device that this request came from, where a rule of the app asks for devices and one is identified. */
  readonly device?: StatedDevice | undefined
}

/** A device as an app is told of it: which, whether it proved itself, and whether the inventory has it. */
export interface StatedDevice {
  readonly id: string
  readonly identified_by: Device['identifiedBy']
  readonly known: boolean
}

/** Header lines and assertion for an allowed request; none for a stranger, and none where the app wants no identity. */
export interface IdentityIssuer {
  (route: Route, subject: SubjectFacts, session: Session | undefined, device?: Known<Device>): readonly HeaderLine[]
  /** Mints anew what was made for this session, or for any: something about it changed that nobody can name. */
  forget(sessionHash: string | undefined): void
}

/** Reused at most this long, so that an upstream never sees an assertion with less than four of its five minutes left. */
const reuseMs = 60_000

/** Sessions × apps in use within a minute on one instance; beyond it the oldest are minted anew. */
const maxKept = 20_000

interface Kept {
  readonly route: Route
  /** Read into memory anew every few seconds; until then it is the same object. */
  readonly session: Session
  readonly sessionHash: string
  readonly claimsVersion: number
  readonly claimsAreKnown: boolean
  readonly signIn: string
  readonly device: string
  readonly kid: string
  readonly mintedAt: number
  readonly lines: readonly HeaderLine[]
}

/** The issuer of one instance. */
export function createIdentityIssuer({ signer, now }: { readonly signer: AssertionSigner; readonly now: () => number }): IdentityIssuer {
  const kept = new Map<string, Kept>()

  const issue = (...[route, subject, session, device]: Parameters<IdentityIssuer>): readonly HeaderLine[] => {
    const { identity } = route.app
    if (identity.kind === 'none') return []
    if (subject.kind === 'service')
      return subject.names[0] === undefined ? [] : writeLines(identity, { user: `service:${subject.names[0]}` })
    if (subject.kind === 'nobody' || session === undefined) return []

    const key = `${session.id}\n${route.app.id}`
    const at = now()
    const kid = signer.currentKid()
    const earlier = kept.get(key)
    const stated = stateDevice(device)
    if (earlier !== undefined && isStillTrue(earlier, { route, subject, session, device: stated, kid, at })) return earlier.lines

    const statement = { ...stateIdentity(route.app, subject), device: stated }
    const lines = [
      ...writeIdentityHeaders(identity, statement, subject),
      ['X-Postern-Assertion', signer.sign(route, statement, session)] as const,
    ]
    kept.delete(key)
    const [oldest] = kept.size < maxKept ? [] : kept.keys()
    if (oldest !== undefined) kept.delete(oldest)
    kept.set(key, {
      route,
      session,
      sessionHash: hashSessionId(session.id),
      claimsVersion: session.claims.version,
      claimsAreKnown: subject.claims.known,
      signIn: keyOfSignIn(session),
      device: keyOfDevice(stated),
      kid,
      mintedAt: at,
      lines,
    })
    return lines
  }
  return Object.assign(issue, {
    forget(sessionHash: string | undefined) {
      if (sessionHash === undefined) kept.clear()
      else for (const [key, one] of kept) if (one.sessionHash === sessionHash) kept.delete(key)
    },
  })
}

function isStillTrue(
  kept: Kept,
  present: {
    readonly route: Route
    readonly subject: Person
    readonly session: Session
    readonly device: StatedDevice | undefined
    readonly kid: string
    readonly at: number
  },
): boolean {
  const age = present.at - kept.mintedAt
  return (
    age >= 0 &&
    age < reuseMs &&
    // A reload makes new routes: whatever the policy says about identities now, counts now.
    kept.route === present.route &&
    kept.claimsVersion === present.session.claims.version &&
    kept.claimsAreKnown === present.subject.claims.known &&
    (kept.session === present.session || kept.signIn === keyOfSignIn(present.session)) &&
    kept.device === keyOfDevice(present.device) &&
    kept.kid === present.kid
  )
}

function keyOfSignIn({ signIn: { acr, amr, at } }: Session): string {
  return `${at} ${acr ?? ''} ${amr.join(' ')}`
}

function keyOfDevice(device: StatedDevice | undefined): string {
  return device === undefined ? '' : `${device.identified_by} ${device.known} ${device.id}`
}

/** What an app, or `whoami`, is told of a device; `undefined` where none is identified. */
export function stateDevice(device: Known<Device> | undefined): StatedDevice | undefined {
  if (device === undefined || !device.known) return undefined
  const { id, identifiedBy, isKnown } = device.value
  return { id, identified_by: identifiedBy, known: isKnown }
}

/** What this app may know about this person. */
export function stateIdentity(app: App, subject: Person): IdentityStatement {
  const claims = subject.claims.known ? subject.claims.value : undefined
  const textOf = (claim: string) => {
    const value = claims === undefined ? undefined : findClaim(claims, [claim])
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const patterns = app.identity.kind === 'headers' ? app.identity.onlyGroups : undefined
  const mayPass = patterns === undefined ? () => true : compileNamePatterns(patterns)
  return {
    sub: subject.sub,
    email: subject.email.known ? subject.email.value : undefined,
    name: textOf('name'),
    preferredUsername: textOf('preferred_username'),
    groups: subject.groups.known ? subject.groups.value.filter(mayPass) : undefined,
  }
}

/** The identity as header lines under the names that the app asked for. */
export function writeIdentityHeaders(
  setting: Extract<IdentitySetting, { kind: 'headers' }>,
  statement: IdentityStatement,
  subject: Person,
): readonly HeaderLine[] {
  const { groupsSeparator } = setting
  const lines = writeLines(setting, {
    user: statement.sub,
    email: statement.email,
    preferredUsername: statement.preferredUsername,
    groups: statement.groups === undefined ? undefined : joinNames(statement.groups, groupsSeparator),
  })
  const claims = subject.claims.known ? subject.claims.value : undefined
  for (const { header, path } of claims === undefined ? [] : setting.extra) {
    const value = claims === undefined ? undefined : findClaim(claims, path)
    const text = Array.isArray(value)
      ? joinNames(value.filter(isScalar).map(String), groupsSeparator)
      : isScalar(value)
        ? String(value)
        : ''
    pushLine(lines, header, text)
  }
  return lines
}

type HeaderFacts = Partial<Record<'user' | 'email' | 'preferredUsername' | 'groups', string | undefined>>

function writeLines(setting: Extract<IdentitySetting, { kind: 'headers' }>, facts: HeaderFacts): HeaderLine[] {
  const lines: HeaderLine[] = []
  pushLine(lines, setting.user, facts.user)
  pushLine(lines, setting.email, facts.email)
  pushLine(lines, setting.preferredUsername, facts.preferredUsername)
  pushLine(lines, setting.groups, facts.groups)
  return lines
}

function pushLine(lines: HeaderLine[], header: string | undefined, text: string | undefined): void {
  if (header === undefined || text === undefined) return
  if (text !== '' && !unfitForLine.test(text)) lines.push([header, toWireBytes(text)])
}

/** A name with the separator in it would be read as two, one of which the person may not have; it is in the assertion all the same. */
function joinNames(names: readonly string[], separator: string): string {
  return names.filter((name) => !name.includes(separator) && !control.test(name)).join(separator)
}

const control = /\p{Cc}/u
/** White space at the ends is no part of a value (RFC 9110 §5.5), so a reader would take it away. */
const unfitForLine = /\p{Cc}|^ | $/u

/** UTF-8, one character a byte, which is what a header value is to Node and undici. */
function toWireBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

/** `*` is any run of characters. Pieces are searched left to right, so no name takes longer than its length. */
function compileNamePatterns(patterns: readonly string[]): (name: string) => boolean {
  const matchers = patterns.map((pattern) => {
    const pieces = pattern.split('*')
    const first = pieces[0] ?? ''
    const last = pieces.at(-1) ?? ''
    if (pieces.length === 1) return (name: string) => name === pattern
    return (name: string) => {
      if (!name.startsWith(first) || !name.endsWith(last)) return false
      let from = first.length
      for (const piece of pieces.slice(1, -1)) {
        const at = name.indexOf(piece, from)
        if (at === -1) return false
        from = at + piece.length
      }
      return from <= name.length - last.length
    }
  })
  return (name) => matchers.some((matches) => matches(name))
}
