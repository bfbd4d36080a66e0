/**
 * The conditions that name no other, as they are written: sign-in, device, network, time, client and expression, each a map of its keys.
 *
 * A map that asks for nothing would always hold and is refused, since a condition that was left empty is one that somebody meant to write.
 */

import { z } from 'zod'
import type {
  ClientCondition,
  DeviceCondition,
  ExpressionCondition,
  NetworkCondition,
  Scalar,
  SignInCondition,
  TimeCondition,
  Weekday,
  Who,
} from '../policy/document.ts'
import {
  asn,
  attributeName,
  browserName,
  calendarDate,
  clientSystem,
  country,
  dayRange,
  hourRange,
  osRequirement,
  timeZone,
  versionBound,
} from './condition-values.ts'
import { bool, cidr, converted, definedName, duration, listOf, path, refuse, text } from './plain-values.ts'
import { scalar } from './who-schema.ts'

type WrittenSignIn = Omit<SignInCondition, 'strength'> & { readonly strength: string | undefined }
type WrittenTime = Omit<TimeCondition, 'zone'> & { readonly zone: string | undefined }

/** A condition that names no other; strengths, files and zones are still as written. */
export type WrittenLeaf =
  | { readonly kind: 'subject'; readonly who: Who }
  | WrittenSignIn
  | DeviceCondition
  | NetworkCondition
  | WrittenTime
  | ClientCondition
  | ExpressionCondition

const oneOrMore = <S extends z.ZodType>(item: S, expected: string) => z.union([item, listOf(item, expected)], { error: expected })

function asList<T>(given: T | readonly T[] | undefined): readonly T[] | undefined {
  return given === undefined ? undefined : Array.isArray(given) ? (given as readonly T[]) : [given as T]
}

/** A map that asks for nothing would always hold. */
function mustAskForSomething(map: object, context: z.core.$RefinementCtx): void {
  if (Object.keys(map).length === 0) {
    refuse(context, 'this condition is empty: it would always hold', { suggestion: 'write what is asked for, or remove it' })
  }
}

const year = { text: '365d', seconds: 365 * 86_400 }
/** Posture older than this is unknown where a condition does not say otherwise. */
const usualReportAgeSeconds = 86_400

/** `sign_in`: how and when the person signed in. */
export const signInCondition = z
  .strictObject(
    {
      strength: definedName.optional().meta({ description: 'A strength of `provider.strengths`, by name.', examples: ['mfa'] }),
      acr: oneOrMore(text('an acr value'), 'an acr value, or a list of them')
        .optional()
        .meta({ description: 'Any of these `acr` values.' }),
      amr: oneOrMore(text('an amr value'), 'an amr value, or a list of them')
        .optional()
        .meta({ description: 'Any of these `amr` values.' }),
      within: duration()
        .optional()
        .meta({ description: 'Greatest age of the latest authentication (`auth_time`).', examples: ['1h'] }),
    },
    { error: 'a map such as `{ strength: mfa, within: 1h }`' },
  )
  .superRefine(mustAskForSomething)
  .transform(
    ({ strength, acr, amr, within }): WrittenSignIn => ({
      kind: 'sign_in',
      strength,
      acr: asList(acr),
      amr: asList(amr),
      withinSeconds: within,
    }),
  )

/** `device`: what is known of the device. */
export const deviceCondition = z
  .strictObject(
    {
      known: bool.optional().meta({ description: 'Whether it is registered in the inventory and not blocked.' }),
      managed: bool.optional().meta({ description: 'Whether a management system manages it.' }),
      disk_encrypted: bool.optional().meta({ description: 'Whether its disk is encrypted.' }),
      screen_lock: bool.optional().meta({ description: 'Whether its screen locks.' }),
      firewall: bool.optional().meta({ description: 'Whether its firewall is on.' }),
      os: oneOrMore(osRequirement, 'a list such as `["macos >= 14.4", linux]`')
        .optional()
        .meta({
          description: 'Accepted systems, with versions; one that is not listed does not pass.',
          examples: [['macos >= 14.4', 'linux']],
        }),
      serials: listOf(text('a serial number'), 'a list of serial numbers').optional().meta({ description: 'Any of these serial numbers.' }),
      tags: listOf(text('a tag'), 'a list of tags').optional().meta({ description: 'Any of these tags of the inventory.' }),
      attributes: z
        .record(attributeName, z.union([scalar, listOf(scalar, 'a list of values')], { error: 'a value or a list of values' }), {
          error: 'a map of attribute names to values',
        })
        .superRefine((map, context) => {
          if (Object.keys(map).length === 0) refuse(context, 'this map is empty', { expected: 'a map of attribute names to values' })
        })
        .optional()
        .meta({ description: 'What a management system adds: each attribute is, or contains, one of the values.' }),
      reported_within: duration(year)
        .optional()
        .meta({ description: 'Posture older than this is unknown; 24h if left out.', examples: ['24h'] }),
      identified_by: z
        .enum(['certificate', 'claim'])
        .optional()
        .meta({ description: 'How the device is told: a certificate proves its presence on this request, a claim does not.' }),
    },
    { error: 'a map such as `{ managed: true, disk_encrypted: true }`' },
  )
  .superRefine(mustAskForSomething)
  .transform(
    (written): DeviceCondition => ({
      kind: 'device',
      known: written.known,
      managed: written.managed,
      diskEncrypted: written.disk_encrypted,
      screenLock: written.screen_lock,
      firewall: written.firewall,
      os: asList(written.os),
      serials: written.serials,
      tags: written.tags,
      attributes:
        written.attributes === undefined
          ? undefined
          : Object.entries(written.attributes).map(([name, values]) => ({
              name,
              values: asList<Scalar>(values as Scalar | readonly Scalar[]) ?? [],
            })),
      reportedWithinSeconds: written.reported_within ?? usualReportAgeSeconds,
      isReportAsked: written.reported_within !== undefined,
      identifiedBy: written.identified_by,
    }),
  )

/** `network`: where the request comes from. */
export const networkCondition = z
  .strictObject(
    {
      cidrs: oneOrMore(cidr, 'a list of networks such as `[10.0.0.0/8]`')
        .optional()
        .meta({ description: 'Networks; the client address is in any of them.', examples: [['10.0.0.0/8']] }),
      cidrs_file: path.optional().meta({
        description: 'Text file with one network a line; `#` begins a comment. Relative to this document, read again when it changes.',
      }),
      countries: listOf(country, 'a list of countries such as `[DE, FR]`')
        .optional()
        .meta({ description: 'Countries (ISO 3166-1); needs `facts.country_file`.', examples: [['DE', 'FR']] }),
      asns: listOf(asn, 'a list of network numbers such as `[64512]`')
        .optional()
        .meta({ description: 'Autonomous system numbers; needs `facts.asn_file`.', examples: [[64512]] }),
    },
    { error: 'a map such as `{ cidrs: [10.0.0.0/8] }`' },
  )
  .superRefine(mustAskForSomething)
  .superRefine((written, context) => {
    if (written.cidrs === undefined || written.cidrs_file === undefined) return
    refuse(
      context,
      'there are networks here and in a file: either of them, or both at once?',
      { suggestion: 'write `any_of: [{ network: { cidrs: … } }, { network: { cidrs_file: … } }]` for either', at: 'key' },
      ['cidrs_file'],
    )
  })
  .transform(
    ({ cidrs, cidrs_file, countries, asns }): NetworkCondition => ({
      kind: 'network',
      cidrs: asList(cidrs),
      cidrsFile: cidrs_file,
      countries,
      asns,
    }),
  )

/** `time`: when it is asked. */
export const timeCondition = z
  .strictObject(
    {
      days: oneOrMore(dayRange, 'a list of days such as `[mon-fri]`')
        .optional()
        .meta({ description: 'Days of the week and ranges of them.', examples: [['mon-fri', 'sun']] }),
      between: oneOrMore(hourRange, 'hours such as `"07:00-20:00"`, or a list of them')
        .optional()
        .meta({ description: 'Hours of the day; may cross midnight.', examples: ['07:00-20:00'] }),
      zone: timeZone.optional().meta({ description: "IANA time zone; the document's if left out." }),
      from: calendarDate.optional().meta({ description: 'First day, included.', examples: ['2026-11-30'] }),
      until: calendarDate.optional().meta({ description: 'Last day, included.', examples: ['2026-12-31'] }),
    },
    { error: 'a map such as `{ days: [mon-fri], between: "07:00-20:00" }`' },
  )
  .superRefine(mustAskForSomething)
  .superRefine((written, context) => {
    const { zone, days, between, from, until } = written
    if (zone !== undefined && [days, between, from, until].every((key) => key === undefined)) {
      refuse(context, 'a time zone alone is no condition', { expected: '`days`, `between`, `from` or `until` as well' })
    }
  })
  .transform(({ days, between, zone, from, until }): WrittenTime => {
    const named = days === undefined ? undefined : new Set(days.flat() as readonly Weekday[])
    return {
      kind: 'time',
      days: named === undefined ? undefined : weekdays.filter((day) => named.has(day)),
      between: asList(between),
      zone,
      from,
      until,
    }
  })

const weekdays: readonly Weekday[] = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']

/** `client`: what the user agent says. */
export const clientCondition = z
  .strictObject(
    {
      browser: oneOrMore(browserName, 'a browser, or a list of them')
        .optional()
        .meta({ description: 'Browsers, by user agent.', examples: ['firefox'] }),
      browser_version: versionBound.optional().meta({ description: 'Version of the browser, by user agent.', examples: ['>= 120'] }),
      os: oneOrMore(clientSystem, 'a system, or a list of them')
        .optional()
        .meta({ description: 'Systems, by user agent.', examples: [['macos']] }),
    },
    { error: 'a map such as `{ browser: firefox }`' },
  )
  .superRefine(mustAskForSomething)
  .transform(
    ({ browser, browser_version, os }): ClientCondition => ({
      kind: 'client',
      browsers: asList(browser),
      browserVersion: browser_version,
      os: asList(os),
    }),
  )

/** Long enough for anything that can still be read; the engine has bounds of its own. It may span lines. */
export const expressionCondition = converted<string>('a CEL expression', (source) => {
  if (source.trim() === '') return { refusal: 'the expression is empty' }
  if (source.length > 4000) return { refusal: 'the expression is longer than 4000 characters', suggestion: 'split it into levels' }
  return /[^\P{Cc}\n\t]/u.test(source) ? { refusal: 'the expression holds a control character' } : source
}).transform((source): ExpressionCondition => ({ kind: 'expression', source }))
