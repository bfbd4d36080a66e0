/**
 * `services:` as written: callers without a browser, each by what its access token has to say (RFC 9068, RFC 7519).
 *
 * Issuer and audience alone would name everybody who can get a token there, so each service needs a scope or a claim as well. Keys and
 * tokens travel over https; http is for what never leaves the machine.
 */

import { z } from 'zod'
import type { Service } from '../policy/document.ts'
import { claimPathKey, converted, listOf, refuse, text } from './plain-values.ts'
import { isLoopbackName, isRefusal, parseUpstreamUrl, type Refusal } from './web-address.ts'
import { scalar, toClaimSelector } from './who-schema.ts'

/** The text itself, since an issuer is compared as it is written (RFC 9207 §2.4); `undefined` where nothing is wrong with it. */
function findAddressProblem(value: string, hasQuery: boolean): Refusal | undefined {
  const parsed = parseUpstreamUrl(hasQuery ? value.replace(/\?[\w.~!$&'()*+,;=:@%/?-]*$/, '') : value)
  if (isRefusal(parsed)) return parsed
  if (parsed.url.protocol === 'https:' || isLoopbackName(parsed.url.hostname)) return undefined
  return {
    refusal: 'over http:// anybody on the way could make tokens',
    expected: 'https://; http:// only on loopback and *.localhost',
    suggestion: `write \`https://${parsed.url.host}…\``,
  }
}

const issuerWords = 'an issuer URL such as `https://auth.example.com`'
const issuer = converted<string>(issuerWords, (value) => {
  if (value.endsWith('/.well-known/openid-configuration')) {
    return { refusal: 'this is the discovery document, not the issuer', suggestion: 'remove `/.well-known/openid-configuration`' }
  }
  const problem = findAddressProblem(value, false)
  return problem === undefined ? value : { expected: issuerWords, ...problem }
})

const jwksWords = 'the URL of a key set, such as `https://auth.example.com/jwks.json`'
const jwksUri = converted<string>(jwksWords, (value) => {
  const problem = findAddressProblem(value, true)
  return problem === undefined ? value : { expected: jwksWords, ...problem }
})

/** RFC 6749 §3.3. */
const scope = text('an OAuth scope').superRefine((value, context) => {
  if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(value)) refuse(context, 'this is not one scope', { expected: 'one scope, without blanks' })
})

const jwt = z
  .strictObject(
    {
      issuer: issuer.meta({ description: 'Issuer exactly as in the token (`iss`).', examples: ['https://auth.example.com'] }),
      audience: text('the audience of its tokens').meta({ description: 'What `aud` is or contains.', examples: ['internal-services'] }),
      scopes_all: listOf(scope, 'a list of scopes')
        .optional()
        .meta({ description: 'Scopes that a token has, all of them.', examples: [['data:read']] }),
      claims: z
        .record(claimPathKey, z.union([scalar, listOf(scalar, 'a list of values')], { error: 'a value or a list of values' }), {
          error: 'a map of claim paths to values',
        })
        .optional()
        .meta({ description: 'Claims of the token: each is, or contains, one of the values.' }),
      jwks_uri: jwksUri.optional().meta({ description: "Where its keys are; from the issuer's metadata if left out." }),
    },
    { error: 'a map such as `{ issuer: …, audience: …, scopes_all: […] }`' },
  )
  .superRefine((written, context) => {
    if (written.scopes_all !== undefined || Object.keys(written.claims ?? {}).length > 0) return
    refuse(context, 'this names everybody who has a token for that audience', { expected: '`scopes_all` or `claims` as well' })
  })
  .transform((written): Omit<Service, 'name'> & { readonly kind: 'jwt' } => ({
    kind: 'jwt',
    issuer: written.issuer,
    audience: written.audience,
    scopesAll: written.scopes_all ?? [],
    claims: Object.entries(written.claims ?? {}).map(toClaimSelector),
    jwksUri: written.jwks_uri,
  }))

/** One service. */
export const serviceSchema = z.strictObject(
  { jwt: jwt.meta({ description: 'Recognised by a signed access token.' }) },
  { error: 'a service: `{ jwt: { issuer: …, audience: …, scopes_all: […] } }`' },
)
