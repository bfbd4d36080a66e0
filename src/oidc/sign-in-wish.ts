/**
 * How a wish for a particular sign-in is put to the provider: `prompt`, `max_age`, the wanted `acr`, and what a strength asks for.
 *
 * The wanted `acr` goes as an essential claim where the provider reads `claims` (OpenID Connect Core §5.5.1.1), else as `acr_values`, and
 * never as both: `acr_values` is a voluntary request for the same claim (§3.1.2.1), and with some providers one cancels the other.
 * `max_age` goes to the provider alone. Given to `openid-client` as well it would make a sign-in throw that is older than asked for;
 * what comes back is judged by the conditions of the rule instead, and a failure is a page that says so.
 */

import type { AuthenticationWish, SignInWish } from './relying-party.ts'

/**
 * How much sooner than the rule the provider is to think of a sign-in as old. Without it, whoever is sent back at 59 minutes of an hour
 * is asked again a minute later; and clocks differ.
 */
const earlierSeconds = 120

/**
 * What the code flow and its protections stand on (Core §3.1.2.1, RFC 7636, RFC 9101, RFC 9396, RFC 9449), and the two ways to ask for an
 * `acr`: never from a strength's `ask`. The configuration refuses them as well; a demand comes through the browser, if sealed.
 */
const protocolParameters = new Set([
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type', 'redirect_uri', 'response_type', 'response_mode', 'scope'],
  ...['state', 'nonce', 'code_challenge', 'code_challenge_method', 'prompt', 'max_age', 'login_hint', 'id_token_hint', 'registration'],
  ...['request', 'request_uri', 'dpop_jkt', 'resource', 'audience', 'authorization_details', 'claims', 'acr_values'],
])

/** The request parameters of a wish. */
export function wishParameters({ prompt, loginHint, stepUp }: SignInWish, readsClaims: boolean): Readonly<Record<string, string>> {
  const maxAge = maxAgeOf(prompt, stepUp?.maxAgeSeconds)
  return {
    ...askedBy(stepUp),
    ...(stepUp === undefined || stepUp.acrValues.length === 0 ? {} : acrParameter(stepUp.acrValues, readsClaims)),
    ...(prompt === undefined ? {} : { prompt }),
    ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
    ...(loginHint === undefined ? {} : { login_hint: loginHint }),
  }
}

/**
 * `max_age=0` beside `prompt=login` obliges the provider to state `auth_time` (Core §2), by which a fresh sign-in is recognised. By itself
 * it asks for a new authentication, and that is right where the rule accepts none older than two minutes.
 */
function maxAgeOf(prompt: SignInWish['prompt'], withinSeconds: number | undefined): number | undefined {
  if (prompt === 'login') return 0
  return withinSeconds === undefined ? undefined : Math.max(0, Math.floor(withinSeconds) - earlierSeconds)
}

function acrParameter(values: readonly string[], readsClaims: boolean): Readonly<Record<string, string>> {
  return readsClaims ? { claims: JSON.stringify({ id_token: { acr: { essential: true, values } } }) } : { acr_values: values.join(' ') }
}

function askedBy(stepUp: AuthenticationWish | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(stepUp?.ask ?? {}).filter(([name]) => !protocolParameters.has(name.toLowerCase())))
}
