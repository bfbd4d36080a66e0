/**
 * The policy document as it is written: zone, levels, services, rules and apps, key by key, with the words an editor shows.
 *
 * Only the form of each value is judged here; what needs other apps, the instance or a file is in `policy-checks.ts`. The document
 * expands no environment and reads no secret, so that it can be edited, shown and replayed anywhere.
 */

import { z } from 'zod'
import { durability, whenFull } from './audit-schema.ts'
import { conditionSchema } from './condition-schema.ts'
import { calendarDate, timeZone } from './condition-values.ts'
import { findHeaderValueProblem } from './header-names.ts'
import {
  appAddress,
  bool,
  claimPath,
  definedName,
  duration,
  headerKey,
  headerName,
  id,
  listOf,
  path,
  pathPattern,
  picturePath,
  refuse,
  size,
  text,
} from './plain-values.ts'
import { companyRuleSchema, ruleSchema, sensitivity } from './rule-schema.ts'
import { serviceSchema } from './service-schema.ts'
import { isHostName, isRefusal, parseUpstreamUrl } from './web-address.ts'
import { whoSchema } from './who-schema.ts'

const upstreamWords = 'a URL such as `http://wiki.internal:3000`'

const upstreamUrl = z.string({ error: upstreamWords }).transform((value, context) => {
  const parsed = parseUpstreamUrl(value)
  if (!isRefusal(parsed)) return parsed
  return refuse(context, parsed.refusal, {
    expected: parsed.expected ?? upstreamWords,
    ...(parsed.suggestion === undefined ? {} : { suggestion: parsed.suggestion }),
  })
})

const upstream = z.union(
  [
    upstreamUrl,
    z.strictObject({
      url: upstreamUrl.meta({ description: 'Internal address, http:// or https://.' }),
      ca_file: path.optional().meta({ description: 'PEM file with the only authorities accepted for it.' }),
      server_name: z
        .string({ error: 'a host name' })
        .superRefine((name, context) => {
          if (!isHostName(name)) refuse(context, 'this is not a host name in lower case')
        })
        .optional()
        .meta({ description: 'Name to ask for and verify in TLS, if it is not the host of the URL.' }),
    }),
  ],
  { error: `${upstreamWords}, or \`{ url: …, ca_file: … }\`` },
)

const identityHeader = z.union([z.literal('none'), headerName('identity')], { error: 'a header name, or `none`' })

const identity = z.union(
  [
    z.literal('none', { error: '`none`, or a map' }),
    z.strictObject({
      user: identityHeader.optional().meta({ description: 'Header for the subject; X-Forwarded-User if left out, `none` for no header.' }),
      email: identityHeader.optional().meta({ description: 'Header for the e-mail address; X-Forwarded-Email if left out.' }),
      preferred_username: identityHeader
        .optional()
        .meta({ description: 'Header for the preferred username; X-Forwarded-Preferred-Username if left out.' }),
      groups: identityHeader.optional().meta({ description: 'Header for the groups; X-Forwarded-Groups if left out.' }),
      add: z
        .record(headerKey('identity'), claimPath, { error: 'a map of header names to claim paths' })
        .optional()
        .meta({ description: 'Further headers, each with the claim it carries.' }),
      groups_separator: z
        .string({ error: 'one or more characters' })
        .superRefine((value, context) => {
          if (!/^[\x20-\x7e]{1,4}$/.test(value)) refuse(context, 'the separator is one to four visible ASCII characters')
        })
        .optional()
        .meta({ description: 'Between group names; a comma if left out.' }),
      only_groups: listOf(text('a group name, in which `*` stands for any characters'), 'a list of group names')
        .optional()
        .meta({ description: 'States only groups that match; `*` stands for any characters.' }),
    }),
  ],
  { error: '`none`, or a map such as `{ user: Remote-User }`' },
)

const headerValue = z.union(
  [
    z.string({ error: 'text' }).superRefine((value, context) => {
      const problem = findHeaderValueProblem(value)
      if (problem !== undefined) refuse(context, problem)
    }),
    z.strictObject({ secret: id.meta({ description: "Name in the instance configuration's `secrets`." }) }),
  ],
  { error: 'text, or `{ secret: NAME }`' },
)

const hour = { text: '1h', seconds: 3600 }
const day = { text: '1d', seconds: 86400 }

const app = z
  .strictObject(
    {
      id: id.meta({ description: 'Stable name in rules, audit and commands.', examples: ['payroll'] }),
      name: text('a name for people', 120).optional().meta({ description: 'Name on pages; the id if left out.' }),
      description: text('a sentence').optional().meta({ description: 'One sentence in the portal.' }),
      owner: text('an e-mail address or a team').optional().meta({ description: 'Who is responsible; shown with refusals.' }),
      help: text('a URL or an e-mail address').optional().meta({ description: 'Where to ask for access.' }),
      logo: picturePath.optional().meta({
        description: 'Picture in the portal: a PNG, JPEG, WebP or SVG file of at most 512 KiB, relative to this document.',
        examples: ['logos/wiki.svg'],
      }),
      portal: z
        .enum(['if_relevant', 'if_allowed', 'listed', 'hidden'])
        .default('if_relevant')
        .meta({ description: 'When the portal shows the app.' }),
      url: appAddress.meta({
        description: 'Public URL: an origin, or an origin and a path prefix.',
        examples: ['https://payroll.corp.example'],
      }),
      upstream: z
        .union([...upstream.options, listOf(upstream, 'a list of upstreams')], { error: `${upstreamWords}, a map or a list` })
        .meta({
          description: 'Where requests are forwarded: a URL, { url, ca_file, server_name }, or a list of these.',
          examples: ['http://payroll.internal:8080'],
        }),
      sensitivity: sensitivity.default('internal').meta({ description: 'How much an error would cost; company rules select by it.' }),
      preserve_host: bool.default(true).meta({ description: 'Whether the upstream sees the public Host.' }),
      identity: identity.optional().meta({ description: 'Names of the identity headers, or `none`.' }),
      session: z
        .strictObject({
          idle_timeout: duration().optional().meta({ description: 'Stricter idle timeout for this app.' }),
          lifetime: duration().optional().meta({ description: 'Stricter lifetime for this app.' }),
        })
        .prefault({})
        .meta({ description: "Stricter session limits than the instance's." }),
      timeouts: z
        .strictObject({
          connect: duration(hour).prefault('5s').meta({ description: 'For a connection to the upstream.' }),
          response: duration(day).prefault('60s').meta({ description: "Until the head of the upstream's answer." }),
          idle: duration(day).prefault('5m').meta({ description: 'Silence allowed within a body or a WebSocket.' }),
        })
        .prefault({})
        .meta({ description: 'How long to wait for the upstream.' }),
      called_by: listOf(id, 'a list of app ids')
        .optional()
        .meta({ description: 'Apps whose pages may send writes and open WebSockets here.' }),
      cross_site_posts: listOf(pathPattern, 'a list of path patterns')
        .optional()
        .meta({ description: 'Single endpoints that other sites may post to, such as a SAML ACS.' }),
      path_rules: listOf(z.enum(['encoded_slash', 'semicolon', 'double_slash']), 'a list')
        .optional()
        .meta({ description: 'Unusual path forms that this app needs.' }),
      max_body: size().optional().meta({ description: 'Largest request body; no limit if left out.' }),
      strip_prefix: bool.default(false).meta({ description: "Cuts the URL's path prefix before forwarding." }),
      pass_authorization: bool.default(false).meta({ description: 'Forwards an Authorization header that Postern itself has used.' }),
      set_request_headers: z
        .record(headerKey('request'), headerValue, { error: 'a map of header names to values' })
        .optional()
        .meta({ description: 'Headers set on every forwarded request.' }),
      remove_request_headers: listOf(headerName('request'), 'a list of header names')
        .optional()
        .meta({ description: 'Headers removed from every forwarded request.' }),
      set_response_headers: z
        .record(headerKey('response'), headerValue, { error: 'a map of header names to values' })
        .optional()
        .meta({ description: "Headers set on every one of the app's answers." }),
      report: z
        .strictObject(
          {
            until: calendarDate.optional().meta({ description: 'Last day of it; a restricted app needs one.', examples: ['2026-12-31'] }),
            pass: whoSchema.meta({ description: 'For whom missing allows and unmet requires are passes.' }),
          },
          { error: 'a map such as `{ until: 2026-12-31, pass: { groups: [staff] } }`' },
        )
        .optional()
        .meta({ description: 'Lets these people pass although no rule allows it yet, and records what would have been decided.' }),
      audit: z
        .strictObject(
          {
            paths: z
              .enum(['full', 'first_segment', 'none'])
              .default('full')
              .meta({ description: 'How much of the path is recorded. What is left out cannot be searched for, nor decided again.' }),
            durability,
            when_full: whenFull,
          },
          { error: 'a map such as `{ durability: group, when_full: deny }`' },
        )
        .prefault({})
        .meta({ description: "How requests for this app are recorded; before what the instance's `audit` says." }),
      rules: z
        .array(ruleSchema, { error: 'a list of rules' })
        .default([])
        .meta({ description: 'Who may do what. Without rules nobody may.' }),
    },
    { error: 'an app: `{ id: …, url: …, upstream: …, rules: […] }`' },
  )
  .meta({ id: 'app' })

export const policySchema = z
  .strictObject({
    version: z.literal(1, { error: 'the number 1' }).optional().meta({ description: 'Version of this format.' }),
    zone: timeZone.optional().meta({ description: 'Time zone for hours and dates that name none; UTC if left out.' }),
    levels: z
      .record(definedName, conditionSchema, { error: 'a map of names to conditions' })
      .default({})
      .meta({ description: 'Named conditions; rules and other levels use them by name.' }),
    services: z
      .record(definedName, serviceSchema, { error: 'a map of names to services' })
      .default({})
      .meta({ description: 'Callers without a browser.' }),
    rules: z
      .array(companyRuleSchema, { error: 'a list of rules' })
      .default([])
      .meta({ description: 'Rules for every app, or for those that apps or sensitivity select.' }),
    apps: z.array(app, { error: 'a list of apps' }).default([]).meta({ description: 'The protected apps.' }),
  })
  .meta({ title: 'Postern policy document' })

export type WrittenPolicy = z.output<typeof policySchema>
export type WrittenApp = WrittenPolicy['apps'][number]
