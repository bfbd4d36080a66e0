/**
 * The tests beside a policy as they are written: people, devices, and what must be allowed or refused under which circumstances.
 *
 * Only the form is judged here; whether a test's person, device and app exist is for `load-policy-tests.ts`. Every word that a test
 * may leave out has one meaning, so that a test says the same on every machine and on every day.
 */

import { isIP } from 'node:net'
import { z } from 'zod'
import { bool, duration, email, id, listOf, refuse, text } from './plain-values.ts'

const scalar = z.union([text('text'), z.number(), bool], { error: 'text, a number or a boolean' })

/** `2026-11-25T10:00+01:00`: without an offset it would be another instant on another machine. */
const instant = z.string({ error: 'an instant such as `2026-11-25T10:00+01:00`' }).transform((written, context): number => {
  const hasOffset = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/.test(written)
  const at = hasOffset ? Date.parse(written) : Number.NaN
  if (!Number.isNaN(at)) return at
  return refuse(context, 'this is not an instant with its offset', { expected: 'an instant such as `2026-11-25T10:00+01:00`' })
})

const agoWords = 'an age such as `10m ago`'

/** Seconds. */
const ago = z.string({ error: agoWords }).transform((written, context): number => {
  const match = /^(\d{1,9})(s|m|h|d) ago$/.exec(written)
  const unit = { s: 1, m: 60, h: 3600, d: 86400 }[match?.[2] ?? '']
  return match === null || unit === undefined ? refuse(context, 'this is not an age', { expected: agoWords }) : Number(match[1]) * unit
})

const signInWords = 'a strength and an age such as `mfa 10m ago`, or `password 1h ago`'

/** `mfa 10m ago`, or a map with what the provider said. */
const signIn = z.union(
  [
    z.string({ error: signInWords }).transform((written, context): { strength: string; ago: number } => {
      const match = /^(\S{1,64}) (\d{1,9})(s|m|h|d) ago$/.exec(written)
      const unit = { s: 1, m: 60, h: 3600, d: 86400 }[match?.[3] ?? '']
      if (match?.[1] === undefined || unit === undefined) return refuse(context, 'this is not a sign-in', { expected: signInWords })
      return { strength: match[1], ago: Number(match[2]) * unit }
    }),
    z.strictObject({
      acr: text('an acr value').optional().meta({ description: 'As the provider states it.' }),
      amr: listOf(text('an authentication method'), 'a list of methods').optional().meta({ description: 'As the provider states them.' }),
      ago: duration({ text: '400d', seconds: 400 * 86400 })
        .optional()
        .meta({ description: 'Age of the authentication; unknown if left out.' }),
    }),
  ],
  { error: signInWords },
)

const person = z
  .strictObject({
    email: email.optional().meta({ description: 'A verified address; unknown if left out.' }),
    sub: text('a subject identifier', 255).optional().meta({ description: 'The name of the person here, if left out.' }),
    groups: z.array(text('a group name'), { error: 'a list of group names' }).optional().meta({ description: 'Unknown if left out.' }),
    claims: z
      .record(z.string(), z.unknown(), { error: 'a map of claims' })
      .optional()
      .meta({ description: 'Further claims, as the provider states them.' }),
  })
  .meta({ id: 'person' })

const device = z
  .strictObject({
    known: bool.default(true).meta({ description: 'Whether it is in the inventory.' }),
    identified_by: z.enum(['certificate', 'claim']).default('certificate').meta({ description: 'How the request names it.' }),
    serial: text('a serial number').optional().meta({ description: 'Serial number.' }),
    tags: listOf(text('a tag'), 'a list of tags').optional().meta({ description: 'Tags in the inventory.' }),
    managed: bool.optional().meta({ description: 'Managed by the company.' }),
    disk_encrypted: bool.optional().meta({ description: 'Disk encryption is on.' }),
    screen_lock: bool.optional().meta({ description: 'Screen lock is on.' }),
    firewall: bool.optional().meta({ description: 'Firewall is on.' }),
    os: text('an operating system').optional().meta({ description: 'Operating system, such as macos.' }),
    os_version: z
      .union([text('a version'), z.number()], { error: 'a version' })
      .optional()
      .meta({ description: 'Its version.' }),
    attributes: z
      .record(z.string(), z.union([scalar, listOf(scalar, 'a list of values')], { error: 'a value or a list of values' }), {
        error: 'a map of attributes',
      })
      .optional()
      .meta({ description: 'What a management system adds.' }),
    reported: ago.optional().meta({ description: 'Age of its latest report; just now if left out.' }),
  })
  .meta({ id: 'device' })

const givenKeys = {
  as: text('a person, `service:NAME`, or `nobody`').optional().meta({ description: 'Who asks; nobody if left out.' }),
  sign_in: signIn.optional().meta({ description: 'How they signed in; unknown if left out.' }),
  device: id.optional().meta({ description: 'The device they are on; none that is known if left out.' }),
  at: instant.optional().meta({ description: 'When; the instant of the run if left out.' }),
  address: z
    .string({ error: 'an address' })
    .superRefine((address, context) => {
      if (isIP(address) === 0) refuse(context, 'this is not an IP address')
    })
    .optional()
    .meta({ description: "The client's address; 192.0.2.1 if left out." }),
  country: z
    .union([z.literal('unknown'), z.literal('none'), z.string().regex(/^[A-Z]{2}$/)], {
      error: 'a country such as `DE`, `none` or `unknown`',
    })
    .optional()
    .meta({ description: 'Where the address is; unknown if left out.' }),
  asn: z.number({ error: 'a number' }).int().optional().meta({ description: 'The network the address belongs to; unknown if left out.' }),
  user_agent: text('a user agent').optional().meta({ description: 'The User-Agent header.' }),
}

const requestWords = 'a method and a URL such as `GET https://payroll.corp.example/runs/1`, with WEBSOCKET for a handshake'

const given = z.strictObject({
  ...givenKeys,
  request: z
    .string({ error: requestWords })
    .superRefine((written, context) => {
      const [method = '', address = '', ...rest] = written.split(' ')
      if (rest.length > 0 || !/^[A-Z][A-Z0-9-]{0,30}$/.test(method) || !/^https?:\/\//.test(address) || !URL.canParse(address)) {
        refuse(context, 'this is not a request', { expected: requestWords })
      }
    })
    .meta({ description: requestWords }),
})

const outcomeWords = '`allow`, `deny`, `sign_in`, `step_up`, `{ allow: RULE }` or `{ deny: REASON }`'

const expected = z.union(
  [
    z.enum(['allow', 'deny', 'sign_in', 'step_up'], { error: outcomeWords }),
    z
      .strictObject({
        allow: text('the name of a rule, or a reason').optional().meta({ description: 'Allowed, by this rule or for this reason.' }),
        deny: text('a reason').optional().meta({ description: 'Refused, for this reason, or with this unmet condition.' }),
      })
      .superRefine((map, context) => {
        if (Object.keys(map).length !== 1) refuse(context, 'one outcome is expected', { expected: outcomeWords })
      }),
  ],
  { error: outcomeWords },
)

/** The file. */
export const policyTestsSchema = z
  .strictObject({
    defaults: z.strictObject(givenKeys).prefault({}).meta({ description: 'Holds for every test that does not say otherwise.' }),
    people: z.record(id, person, { error: 'a map of names to people' }).default({}).meta({ description: 'People of the tests.' }),
    devices: z.record(id, device, { error: 'a map of names to devices' }).default({}).meta({ description: 'Devices of the tests.' }),
    tests: z
      .array(
        z
          .strictObject({
            name: text('what the test says', 200).meta({ description: 'A fact, in the present tense.' }),
            given: given.meta({ description: 'Who asks for what, under which circumstances.' }),
            expect: expected.meta({ description: outcomeWords }),
          })
          .meta({ id: 'test' }),
        { error: 'a list of tests' },
      )
      .default([])
      .meta({ description: 'What must be allowed and what must be refused.' }),
  })
  .meta({ title: 'Postern policy tests' })

export type WrittenPolicyTests = z.output<typeof policyTestsSchema>
