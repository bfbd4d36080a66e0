/**
 * A condition as it is written: the name of a level, or a map with exactly one kind of condition in it.
 *
 * Two kinds in one map read as "and" to some people and as "or" to others, so they are refused and the report asks which was meant.
 * Names of levels and strengths, and files of networks, are still as written here; `resolve-condition.ts` puts in what they stand for.
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
import { scalar, whoSchema } from './who-schema.ts'

export type WrittenSignIn = Omit<SignInCondition, 'strength'> & { readonly strength: string | undefined }
export type WrittenNetwork = NetworkCondition
export type WrittenTime = Omit<TimeCondition, 'zone'> & { readonly zone: string | undefined }

export type WrittenLeaf =
  | { readonly kind: 'subject'; readonly who: Who }
  | WrittenSignIn
  | DeviceCondition
  | WrittenNetwork
  | WrittenTime
  | ClientCondition
  | ExpressionCondition

/** Like the document's, but with names where that has what they stand for. */
export type WrittenCondition =
  | { readonly kind: 'level'; readonly name: string }
  | { readonly kind: 'all_of' | 'any_of'; readonly of: readonly WrittenCondition[] }
  | { readonly kind: 'not'; readonly of: WrittenCondition }
  | WrittenLeaf

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

const signIn = z
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

const device = z
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

const network = z
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
    ({ cidrs, cidrs_file, countries, asns }): WrittenNetwork => ({
      kind: 'network',
      cidrs: asList(cidrs),
      cidrsFile: cidrs_file,
      countries,
      asns,
    }),
  )

const time = z
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

const client = z
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
const expression = converted<string>('a CEL expression', (source) => {
  if (source.trim() === '') return { refusal: 'the expression is empty' }
  if (source.length > 4000) return { refusal: 'the expression is longer than 4000 characters', suggestion: 'split it into levels' }
  return /[^\P{Cc}\n\t]/u.test(source) ? { refusal: 'the expression holds a control character' } : source
}).transform((source): ExpressionCondition => ({ kind: 'expression', source }))

const kinds = 'one of subject, sign_in, device, network, time, client, expression, all_of, any_of, not'
const conditionWords = 'the name of a level, or a condition such as `{ sign_in: { strength: mfa } }`'

const inline = z
  .strictObject(
    {
      subject: whoSchema.optional().meta({ description: 'Whom it holds for.' }),
      sign_in: signIn.optional().meta({ description: 'How and when the person signed in.' }),
      device: device.optional().meta({ description: 'What is known of the device.' }),
      network: network.optional().meta({ description: 'Where the request comes from.' }),
      time: time.optional().meta({ description: 'When it is asked.' }),
      client: client.optional().meta({ description: 'What the user agent says: a hint, never proof.' }),
      expression: expression.optional().meta({ description: 'A CEL expression over subject, sign_in, device, environment and request.' }),
      all_of: z
        .lazy((): z.ZodType<readonly WrittenCondition[]> => listOf(conditionSchema, 'a list of conditions'))
        .optional()
        .meta({ description: 'Every one of these conditions holds.' }),
      any_of: z
        .lazy((): z.ZodType<readonly WrittenCondition[]> => listOf(conditionSchema, 'a list of conditions'))
        .optional()
        .meta({ description: 'One of these conditions holds.' }),
      not: z
        .lazy((): z.ZodType<WrittenCondition> => conditionSchema)
        .optional()
        .meta({ description: 'This condition does not hold.' }),
    },
    { error: conditionWords },
  )
  .superRefine((map, context) => {
    const [first, second] = Object.keys(map)
    if (first === undefined) refuse(context, 'this condition is empty', { expected: kinds })
    else if (second !== undefined) {
      const both = `[{ ${first}: … }, { ${second}: … }]`
      refuse(
        context,
        'two conditions in one map: either of them, or both at once?',
        { expected: 'one condition in a map', suggestion: `for either write \`any_of: ${both}\`, for both \`all_of: ${both}\``, at: 'key' },
        [second],
      )
    }
  })
  .transform((written): WrittenCondition => {
    if (written.subject !== undefined) return { kind: 'subject', who: written.subject }
    if (written.all_of !== undefined) return { kind: 'all_of', of: written.all_of }
    if (written.any_of !== undefined) return { kind: 'any_of', of: written.any_of }
    if (written.not !== undefined) return { kind: 'not', of: written.not }
    const leaf = written.sign_in ?? written.device ?? written.network ?? written.time ?? written.client ?? written.expression
    // The refinement has seen to it.
    if (leaf === undefined) throw new TypeError('an empty condition was built')
    return leaf
  })
  .meta({ id: 'inline_condition' })

const levelName = definedName.transform((name): WrittenCondition => ({ kind: 'level', name }))

/** A level by name, or one inline condition. */
export const conditionSchema: z.ZodType<WrittenCondition> = z
  .union([levelName, inline], { error: conditionWords })
  .meta({ id: 'condition', description: 'The name of a level, or one condition.' })

/** What `when`, `unless` and `require` hold: one condition, or a list. */
export const conditionsSchema = z.union([conditionSchema, listOf(conditionSchema, 'a list of conditions')], {
  error: 'a list of conditions and names of levels',
})
