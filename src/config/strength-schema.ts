/**
 * `provider.strengths`: what `mfa` and `phishing_resistant` mean at this provider, said once for all rules.
 *
 * A strength is met by what comes back (`acr` or `amr`), never by what was asked. `ask` adds parameters to the authorization request,
 * and refuses those that the sign-in itself depends on: whoever could set `redirect_uri`, `state` or `nonce` there would undo it.
 */

import { z } from 'zod'
import { definedName, listOf, prototypeNames, refuse, text } from './plain-values.ts'

/** OpenID Connect Core §3.1.2.1, RFC 6749, 7636, 8707, 9101, 9126, 9396, 9449 and the response modes: set by the sign-in itself, or by nobody. */
const protocolParameters: ReadonlySet<string> = new Set([
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'redirect_uri',
  'response_type',
  'response_mode',
  'scope',
  'state',
  'nonce',
  'code',
  'code_challenge',
  'code_challenge_method',
  'code_verifier',
  'grant_type',
  'request',
  'request_uri',
  'registration',
  'prompt',
  'max_age',
  'acr_values',
  'claims',
  'id_token_hint',
  'login_hint',
  'resource',
  'audience',
  'authorization_details',
  'dpop_jkt',
  'iss',
  'refresh_token',
  'access_token',
  'id_token',
  'post_logout_redirect_uri',
])

const parameterName = z.string().superRefine((name, context) => {
  const lower = name.toLowerCase()
  if (protocolParameters.has(lower) || lower.startsWith('code_challenge') || prototypeNames.has(name)) {
    const mend: Readonly<Record<string, string>> = {
      acr_values: 'write the values in `acr`',
      claims: 'write the values in `acr`',
      max_age: 'write `within` in the condition',
    }
    refuse(context, 'this parameter belongs to the sign-in itself', {
      expected: 'a parameter of the provider’s own',
      at: 'key',
      ...(Object.hasOwn(mend, lower) ? { suggestion: mend[lower] ?? '' } : {}),
    })
  } else if (!/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(name)) refuse(context, 'this is not the name of a parameter', { at: 'key' })
})

const strength = z
  .strictObject(
    {
      acr: listOf(text('an acr value', 200), 'a list of acr values')
        .optional()
        .meta({ description: 'Any of these `acr` values in the ID Token; the first are asked for.', examples: [['2']] }),
      amr: listOf(text('an amr value', 200), 'a list of amr values')
        .optional()
        .meta({ description: 'Or any of these `amr` values.', examples: [['mfa', 'otp']] }),
      ask: z
        .record(parameterName, text('text'), { error: 'a map of parameters to values' })
        .optional()
        .meta({ description: 'Further parameters of the authorization request that make this provider ask for it.' }),
    },
    { error: 'a map such as `{ acr: ["2"] }`' },
  )
  .superRefine((written, context) => {
    if (written.acr === undefined && written.amr === undefined) {
      refuse(context, 'nothing that comes back would meet this strength', { expected: '`acr` or `amr`' })
    }
  })

/** All strengths, by name. */
export const strengthsSchema = z.record(definedName, strength, { error: 'a map of names to `{ acr: […], amr: […], ask: {…} }`' })
