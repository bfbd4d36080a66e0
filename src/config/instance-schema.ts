/**
 * The instance configuration as it is written: `config/postern.yaml`, key by key, with defaults and the words an editor shows.
 *
 * Only the form of each value is judged here. What needs other keys, files or the environment is in `load-configuration.ts`.
 * Keys that are not listed are errors, so that a setting that does nothing is never mistaken for one that protects.
 */

import { z } from 'zod'
import { auditSchema } from './audit-schema.ts'
import { attributeName } from './condition-values.ts'
import { bool, cidr, claimPath, duration, hostPort, id, listOf, origin, path, refuse, size, text, upstreamPattern } from './plain-values.ts'
import { strengthsSchema } from './strength-schema.ts'
import { tracingSchema } from './tracing-schema.ts'
import { whoSchema } from './who-schema.ts'

const yearDays = (days: number) => ({ text: `${days}d`, seconds: days * 86400 })

/** A secret as written; `${ENV}`, length and weakness are judged when it is resolved. Never trimmed, never echoed. */
const secretText = z.string({ error: `text, or \${NAME} for an environment variable` })

const count = (least: number, most: number) =>
  z.number({ error: 'a whole number' }).superRefine((value, context) => {
    if (!Number.isInteger(value) || value < least || value > most) refuse(context, `this must be a whole number from ${least} to ${most}`)
  })

const scope = text('an OAuth scope').superRefine((value, context) => {
  if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(value)) refuse(context, 'this is not one scope', { expected: 'one scope, without blanks' })
})

export const provider = z.strictObject(
  {
    issuer: text('the issuer URL of the OpenID Provider').meta({
      description: 'Issuer exactly as the provider states it in its discovery document. http:// only on loopback and *.localhost.',
      examples: ['https://keycloak.corp.example/realms/corp'],
    }),
    preset: z
      .enum(['keycloak', 'entra', 'okta', 'google'])
      .optional()
      .meta({ description: 'Fills defaults for claims, groups and scopes of a well-known provider.' }),
    client_id: text('the client id that the provider issued').meta({ description: 'Client id registered at the provider.' }),
    client_secret: secretText
      .optional()
      .meta({ description: `Client secret. Better: client_secret_file, or \${NAME} for an environment variable.` }),
    client_secret_file: path.optional().meta({ description: 'File with the client secret; one trailing line break is cut.' }),
    client_key_file: path.optional().meta({ description: 'PEM private key (PKCS #8) for private_key_jwt, in place of a secret.' }),
    scopes: listOf(scope, 'a list of scopes')
      .optional()
      .meta({ description: 'Scopes to ask for; must contain openid.', examples: [['openid', 'profile', 'email']] }),
    claims: z
      .strictObject({
        groups: listOf(claimPath, 'a list of claim paths')
          .optional()
          .meta({ description: 'Dotted claim paths to the group names; the first that exists counts.' }),
        device_id: claimPath.optional().meta({ description: 'Dotted claim path of the device id.' }),
        device: z
          .record(attributeName, claimPath, { error: 'a map of attribute names to claim paths' })
          .optional()
          .meta({
            description: 'Posture that the provider states: attribute name to dotted claim path.',
            examples: [{ managed: 'device.compliant' }],
          }),
      })
      .prefault({})
      .meta({ description: 'Where in ID Token and userinfo to find what has no standard name.' }),
    groups: z
      .strictObject({
        strip_prefix: text('text')
          .optional()
          .meta({ description: 'Cut from the front of every group name.', examples: ['/'] }),
        names: z
          .record(text('a group as the provider names it'), text('a group name'), { error: 'a map of names' })
          .prefault({})
          .meta({ description: 'Renames groups: provider name or id to the name used in rules.' }),
      })
      .prefault({})
      .meta({ description: 'How group names of the provider become those of the rules.' }),
    strengths: strengthsSchema
      .optional()
      .meta({ description: 'What the names of sign-in strengths in rules mean here, besides those of the preset.' }),
    groups_when_missing: z
      .enum(['unknown', 'none'])
      .default('unknown')
      .meta({ description: 'What a missing groups claim means: nothing is known, or the person is in no group.' }),
    email: z
      .enum(['verified', 'trusted'])
      .default('verified')
      .meta({ description: 'Whether an address counts only with email_verified: true, or always.' }),
    provider_grace: duration()
      .prefault('1h')
      .meta({ description: 'How long the last known claims stand while the provider is unreachable.' }),
    without_refresh_token: z
      .enum(['reauthenticate', 'accept'])
      .default('reauthenticate')
      .meta({ description: 'What to do about ageing claims if the provider gives no refresh token.' }),
    dangerously_allow_http: bool.default(false).meta({
      description: 'Allows an http:// issuer beyond loopback and *.localhost. Anybody on the network can then sign in as anybody.',
    }),
  },
  { error: 'a map with the settings of the OpenID Provider' },
)

const session = z.strictObject({
  store: secretText.optional().meta({
    description: `embedded, redis://…, redis+sentinel://… or redis+cluster://…, for TLS with rediss; \${NAME} inserts an environment variable, escaped for a URL.`,
    examples: ['embedded', 'redis://redis:6379', 'redis+sentinel://s1:26379,s2:26379,s3:26379/postern'],
  }),
  store_file: path.optional().meta({ description: 'File that holds the store URL.' }),
  idle_timeout: duration().prefault('30m').meta({ description: 'A session ends after this long without use.' }),
  lifetime: duration().prefault('12h').meta({ description: 'A session ends this long after its sign-in.' }),
  refresh_after: duration().prefault('5m').meta({ description: 'Claims older than this are refreshed in the background.' }),
  claims_max_age: duration().prefault('10m').meta({ description: 'Claims older than this are refreshed before the decision.' }),
  unverified_for: duration({ text: '5m', seconds: 300 })
    .optional()
    .meta({ description: 'Store away: so long, what is remembered serves; never on restricted apps. Five seconds if left out.' }),
  store_grace: duration({ text: '10m', seconds: 600 })
    .prefault('30s')
    .meta({ description: 'How long connections that are open stay open while the store is away.' }),
})

const limits = z.strictObject({
  header_bytes: size({ least: 4096, most: 1024 ** 2 })
    .prefault('32KiB')
    .meta({ description: 'Largest request head.' }),
  headers: count(10, 2000).default(100).meta({ description: 'Most header fields in a request.' }),
  header_time: duration({ text: '10m', seconds: 600 }).prefault('10s').meta({ description: 'Longest time for a request head to arrive.' }),
  request_time: duration({ text: '7d', seconds: 7 * 86400 })
    .prefault('1h')
    .meta({ description: 'Longest time for a whole request, body included, to arrive.' }),
  idle_time: duration({ text: '1d', seconds: 86400 })
    .prefault('2m')
    .meta({ description: 'Longest silence on a client connection between requests.' }),
  connections: count(1, 1_000_000).default(10_000).meta({ description: 'Most client connections at once.' }),
  kept_post: z
    .union([z.literal(0), size({ least: 0, most: 8 * 1024 ** 2 })], { error: 'a size, or `0` for none' })
    .prefault('1MiB')
    .meta({ description: 'Longest form that is kept while its person signs in; `0`: none is.' }),
})

const clientCertificate = z.strictObject(
  {
    ca_file: path.meta({ description: 'PEM certificates of the authorities that device certificates come from.' }),
    crl_file: path.optional().meta({ description: 'PEM revocation lists of these authorities; read again when the file changes.' }),
    from: z.enum(['listener', 'client_cert', 'xfcc']).default('listener').meta({
      description: 'Where they are shown: to our listener, or in Client-Cert (RFC 9440) or X-Forwarded-Client-Cert of trusted proxies.',
    }),
  },
  { error: 'a map such as `{ ca_file: tls/devices.pem }`' },
)

const database = path.superRefine((file, context) => {
  if (typeof file === 'string' && !file.endsWith('.mmdb'))
    refuse(context, 'this is not a database of addresses', { expected: 'a file whose name ends in `.mmdb`' })
})

const facts = z.strictObject({
  country_file: database.optional().meta({ description: 'Countries of addresses: an .mmdb file of your own; read again when it changes.' }),
  asn_file: database
    .optional()
    .meta({ description: 'Autonomous systems of addresses: an .mmdb file of your own; read again when it changes.' }),
})

const certificate = z.strictObject({
  cert_file: path.meta({ description: 'PEM certificate chain, own certificate first.' }),
  key_file: path.meta({ description: 'PEM private key.' }),
})

export const instanceSchema = z
  .strictObject({
    url: origin.meta({
      description: 'Public URL of the access host: sign-in, portal, console. Origin only.',
      examples: ['https://access.corp.example'],
    }),
    listen: hostPort.prefault('0.0.0.0:8443').meta({ description: 'Address and port of the one public listener.' }),
    tls: z
      .array(certificate, { error: 'a list of `{ cert_file, key_file }`' })
      .default([])
      .meta({ description: 'Certificates, chosen by SNI. Leave out behind a balancer that ends TLS.' }),
    http_redirect: hostPort.optional().meta({ description: 'Second listener that only redirects http:// to https://.' }),
    hsts: duration(yearDays(730))
      .optional()
      .meta({ description: 'Strict-Transport-Security max-age.', examples: ['365d'] }),
    client_certificate: clientCertificate
      .optional()
      .meta({ description: 'Device certificates: whose they are, and where they are shown.' }),
    trusted_proxies: z
      .array(cidr, { error: 'a list of networks' })
      .default([])
      .meta({ description: 'Networks whose X-Forwarded-For counts; nobody by default.' }),
    operations: hostPort.prefault('127.0.0.1:9464').meta({ description: 'Address of /livez, /readyz and /metrics. Never public.' }),
    provider: provider.meta({ description: 'The OpenID Provider.' }),
    session: session.prefault({}).meta({ description: 'Where sessions live and how long.' }),
    limits: limits.prefault({}).meta({ description: 'Limits of the listener.' }),
    keys_file: path.default('data/keys.json').meta({ description: 'Keys that seal records and sign identity assertions.' }),
    data_dir: path.default('data').meta({ description: 'Folder for the audit trail and, with the embedded store, sessions.' }),
    policy: path.default('policy.yaml').meta({
      description:
        'Policy document: a file, or a folder of *.yaml. `managed`: the store holds its revisions, and the console publishes them.',
    }),
    policy_seed: path
      .optional()
      .meta({ description: 'With `policy: managed`: the file or folder that the first revision is made of; policy.yaml, if left out.' }),
    policy_two_person: bool.default(false).meta({ description: 'With `policy: managed`: a second admin approves what is published.' }),
    upstreams: z
      .strictObject({
        allow: listOf(upstreamPattern, 'a list of hosts and networks')
          .optional()
          .meta({
            description:
              'With `policy: managed`: the only hosts (`wiki.internal`, `*.apps.internal`, `10.0.0.5:8080`) and networks that apps may be forwarded to.',
            examples: [['*.apps.internal', '10.20.0.0/16']],
          }),
      })
      .prefault({})
      .meta({ description: 'Where apps may lead.' }),
    requests: z
      .enum(['on', 'off'], { error: '`on` or `off`' })
      .default('off')
      .meta({ description: '`on`: the portal lets people ask for access; admins see what was asked.' }),
    policy_tests: z
      .enum(['optional', 'required'])
      .default('optional')
      .meta({ description: '`required`: a policy whose own tests fail never takes effect.' }),
    facts: facts.prefault({}).meta({ description: 'Databases that facts about requests are looked up in.' }),
    console: z
      .strictObject({
        roles: z
          .strictObject({
            admin: whoSchema.optional().meta({ description: 'Who may see and change everything.' }),
            auditor: whoSchema.optional().meta({ description: 'Who may see everything and change nothing.' }),
            helpdesk: whoSchema.optional().meta({ description: 'Who may explain refusals and end sessions.' }),
          })
          .prefault({})
          .meta({ description: 'Who holds which role.' }),
        require: z
          .array(text('the name of a level'), { error: 'a list of levels' })
          .default([])
          .meta({ description: 'Levels of the policy that the console asks for besides the role.', examples: [['mfa_1h']] }),
        sign_in_within: duration({ text: '12h', seconds: 43_200 })
          .prefault('1h')
          .meta({ description: 'How old the sign-in of somebody who changes something may be.' }),
      })
      .prefault({})
      .meta({ description: 'The admin console.' }),
    audit: auditSchema.prefault({}).meta({ description: 'The audit trail.' }),
    tracing: tracingSchema.optional().meta({ description: 'OpenTelemetry spans of what a request goes through; none without this.' }),
    secrets: z
      .record(id, secretText, { error: 'a map of names to secrets' })
      .prefault({})
      .meta({ description: 'Values that the policy document names with `secret: NAME`; write NAME, or NAME_file with a path.' }),
    brand: z
      .strictObject({
        name: text('text', 60).default('Postern').meta({ description: 'Name on pages.' }),
        logo_file: path.optional().meta({ description: 'Picture on pages: a PNG, JPEG, WebP or SVG file of at most 512 KiB.' }),
        support: text('an e-mail address, a URL or a sentence').optional().meta({ description: 'Whom to ask for help.' }),
      })
      .prefault({})
      .meta({ description: 'How pages look.' }),
  })
  .meta({ title: 'Postern instance configuration' })

export type WrittenInstance = z.output<typeof instanceSchema>
