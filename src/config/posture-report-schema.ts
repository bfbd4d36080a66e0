/**
 * The body of a posture report, in both forms: what a device signs, and what a management system sends in its name.
 *
 * It comes from machines that nobody watches, so the form is strict: unknown keys are refused (a misspelt `disk_encryptd` must not pass for
 * "not said"), names are bounded and never reach a prototype, values are scalars or short lists of them. What is left out is not
 * said, and stays as it was until it is too old. `config/schema/posture-report.json` is generated from here; a test keeps them equal.
 */

import { z } from 'zod'

/** What a report says of the device. Every member may be missing, but not all of them. */
export interface PostureStatement {
  readonly managed?: boolean | undefined
  readonly disk_encrypted?: boolean | undefined
  readonly screen_lock?: boolean | undefined
  readonly firewall?: boolean | undefined
  readonly os?: string | undefined
  readonly os_version?: string | undefined
  readonly serial?: string | undefined
  readonly attributes?: Readonly<Record<string, AttributeValue>> | undefined
}

type AttributeValue = string | number | boolean | readonly (string | number | boolean)[]

/** The claims of a signed report (RFC 7519). Times are seconds, as everywhere in JWT. */
export interface SignedReportBody {
  readonly aud: string
  readonly sub: string
  readonly iat: number
  readonly jti: string
  readonly exp?: number | undefined
  readonly iss?: string | undefined
  readonly posture: PostureStatement
}

/** What a management system sends. `observed_at` in epoch milliseconds. */
export interface ManagementReportBody {
  readonly observed_at: number
  readonly posture: PostureStatement
}

/** A body, or everything that is wrong with it, in words that repeat no value. */
export type ParsedBody<T> = { readonly value: T } | { readonly problems: readonly string[] }

/** No control characters, no marks that turn or hide text. Written out, so that every reader of the published schema understands it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const printable = /^[^\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$/

const line = (expected: string, most: number) => {
  const error = `${expected}, of at most ${most} characters`
  return z
    .string({ error })
    .min(1, { error })
    .max(most, { error })
    .regex(printable, { error: `${expected}, without control characters` })
}
const yesOrNo = z.boolean({ error: '`true` or `false`' })
const scalar = z.union([line('text', 256), z.number().min(-1e15).max(1e15), yesOrNo])
const attributeWords = 'text of at most 256 characters, a number, `true`, `false`, or a list of at most 32 of them'

const wellKnown = ['managed', 'disk_encrypted', 'screen_lock', 'firewall', 'os', 'os_version', 'serial']
const prototypeNames = ['__proto__', 'constructor', 'prototype']
/** No exception: a name that means something by itself elsewhere would be two facts under one name. */
const attributeName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/, { error: 'a name of letters, digits, `_`, `.` and `-`, of at most 64 characters' })
  .refine((name) => !wellKnown.includes(name) && !prototypeNames.includes(name), {
    error: 'a name of its own: what has a key in `posture` goes there',
  })

const posture = z
  .strictObject(
    {
      managed: yesOrNo.optional().meta({ description: 'Whether the device is enrolled in the management system.' }),
      disk_encrypted: yesOrNo.optional().meta({ description: 'Whether the system disk is encrypted.' }),
      screen_lock: yesOrNo.optional().meta({ description: 'Whether the screen locks by itself and asks for a secret.' }),
      firewall: yesOrNo.optional().meta({ description: 'Whether a firewall filters what comes in.' }),
      os: line('the name of the operating system', 32)
        .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, { error: 'the name of the operating system, such as `macos`' })
        .optional()
        .meta({
          description: 'Operating system; case does not matter.',
          examples: ['macos', 'windows', 'linux', 'ios', 'android', 'chromeos'],
        }),
      os_version: line('the version of the operating system', 64)
        .optional()
        .meta({
          description: 'Its version, as numbers with dots.',
          examples: ['14.4.1', '10.0.22631'],
        }),
      serial: line('a serial number', 128).optional().meta({
        description: 'Serial number of the machine. Where the inventory knows another one, the report is refused.',
      }),
      attributes: z
        .record(attributeName, z.union([scalar, z.array(scalar).max(32)], { error: attributeWords }), {
          error: 'a map of at most 64 names',
        })
        .refine((attributes) => Object.keys(attributes).length <= 64, { error: 'at most 64 names' })
        .optional()
        .meta({ description: 'Whatever else is to be known: name to text, number, true, false, or a list of them.' }),
    },
    { error: 'a map of what was observed' },
  )
  .refine((said) => Object.values(said).some((value) => value !== undefined), { error: 'at least one thing that was observed' })

/** Seconds since 1970 that are still an instant when they are milliseconds. */
const numericDate = z.number({ error: 'seconds since 1970' }).min(0).max(1e11)

const signedReport = z.strictObject({
  aud: line('the URL of the access host', 2000).meta({ description: 'The URL of the access host, without a trailing slash.' }),
  sub: line('the id of the device', 64).meta({ description: 'Id of the device in the inventory; the one in the path.' }),
  iat: numericDate.meta({ description: 'When it was signed: at most five minutes ago, and later than the last report that was accepted.' }),
  jti: line('an id', 128).meta({ description: 'Id of this report.' }),
  exp: numericDate.optional().meta({ description: 'After this it does not count; not needed, five minutes after `iat` it never does.' }),
  iss: line('text', 2000).optional().meta({ description: 'Not looked at: the key says who it is from.' }),
  posture: posture.meta({ description: 'What was observed.' }),
})

const managementReport = z.strictObject({
  observed_at: z.iso
    .datetime({ offset: true, error: 'an instant such as 2026-11-22T08:00:00Z' })
    .meta({ description: 'When the device was last seen to be so (RFC 3339), not when this is sent.' })
    .transform((text) => Date.parse(text)),
  posture: posture.meta({ description: 'What was observed.' }),
})

/** The claims of a signed report. */
export function parseSignedReport(data: unknown): ParsedBody<SignedReportBody> {
  return parseWith(signedReport, data)
}

/** The body that a management system sends. */
export function parseManagementReport(data: unknown): ParsedBody<ManagementReportBody> {
  return parseWith(managementReport, data)
}

/** The posture alone, for the command that signs a report. */
export function parsePosture(data: unknown): ParsedBody<PostureStatement> {
  return parseWith(posture, data)
}

/** The JSON Schema (2020-12) of both forms as text, ending in a line break. */
export function printPostureReportSchema(): string {
  const named = (schema: z.ZodType, title: string, description: string) => {
    const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: 'input', reused: 'inline' })
    return { title, description, ...rest }
  }
  const both = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Posture report',
    description: 'What is posted to /api/v1/devices/{id}/reports of the access host.',
    anyOf: [
      named(signedReport, 'Signed', 'Claims of the JWS that a device signs with its registered key (application/jose).'),
      named(managementReport, 'Management', 'Body that a management system sends with a service token (application/json).'),
    ],
  }
  return `${JSON.stringify(both, null, 2)}\n`
}

function parseWith<T>(schema: z.ZodType<T>, data: unknown): ParsedBody<T> {
  const result = schema.safeParse(data)
  if (result.success) return { value: result.data }
  return { problems: result.error.issues.slice(0, 20).map(describeIssue) }
}

/** A sentence that names the place and what belongs there; keys come from the schema or are cut short, values are never repeated. */
function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path.map((step) => String(step).slice(0, 64)).join('.')
  const place = path === '' ? 'the report' : `\`${path}\``
  if (issue.code === 'unrecognized_keys') return `${place} has unknown keys`
  if (issue.code === 'invalid_key') return `${place} is not a usable name`
  const expected = issue.message
  return `${place}: expected ${expected}`
}
