/**
 * What the presets of `provider.preset` fill in. A key that is written always wins; lists are replaced, not joined.
 *
 * Only differences between providers stand here. Strengths are those that a provider states in an ID Token, weakest value first, and a stronger one always
 * meets the weaker as well. Entra and Okta give a refresh token only for `offline_access`; with Keycloak that
 * scope would start an offline session that outlives the person's own, so it is not asked for there.
 */

import type { IdentityProviderPreset } from '../oidc/relying-party.ts'
import type { Strength } from '../policy/document.ts'
import type { WrittenInstance } from './instance-schema.ts'

interface Preset {
  readonly groupClaims: readonly (readonly string[])[]
  readonly stripPrefix: string
  readonly scopes: readonly string[]
  readonly strengths: ReadonlyMap<string, Strength>
}

function strengthsOf(written: Readonly<Record<string, Partial<Omit<Strength, 'name'>>>>): ReadonlyMap<string, Strength> {
  return new Map(Object.entries(written).map(([name, { acr = [], amr = [], ask = {} }]) => [name, { name, acr, amr, ask }]))
}

const usual: Preset = { groupClaims: [['groups']], stripPrefix: '', scopes: ['openid', 'profile', 'email'], strengths: new Map() }

const presets: Readonly<Record<IdentityProviderPreset, Preset>> = {
  // The groups mapper writes full paths ("/finance") unless told otherwise.
  keycloak: {
    ...usual,
    groupClaims: [['groups'], ['realm_access', 'roles']],
    stripPrefix: '/',
    // Without an "ACR to LoA mapping" the levels of the flow's conditions are the values: 1 a password, 2 a second factor, 3 a passkey.
    strengths: strengthsOf({ mfa: { acr: ['2', '3'] }, phishing_resistant: { acr: ['3'] } }),
  },
  // Groups come as object ids (rename them with `groups.names`), app roles under their own names.
  entra: {
    ...usual,
    groupClaims: [['groups'], ['roles']],
    scopes: [...usual.scopes, 'offline_access'],
    // It has no `acr` to ask for: a Conditional Access policy does the asking, and `amr` says what was done.
    strengths: strengthsOf({ mfa: { amr: ['mfa', 'ngcmfa'] }, phishing_resistant: { amr: ['fido'] } }),
  },
  okta: {
    ...usual,
    scopes: [...usual.scopes, 'offline_access'],
    // Predefined values: any two factors, phishing-resistant, and the same protected by hardware.
    strengths: strengthsOf({
      mfa: { acr: ['urn:okta:loa:2fa:any', 'phr', 'phrh'], amr: ['mfa'] },
      phishing_resistant: { acr: ['phr', 'phrh'] },
    }),
  },
  // Google states no groups and no strengths; `hd` is the Workspace domain and is used with `claims: { hd: … }`.
  google: usual,
}

/** The provider's claim places, prefix and scopes with the preset's defaults filled in. A strength that is written replaces the preset's of that name. */
export function fillPreset(written: WrittenInstance['provider']): Preset {
  const preset = written.preset === undefined ? usual : presets[written.preset]
  return {
    groupClaims: written.claims?.groups ?? preset.groupClaims,
    stripPrefix: written.groups?.strip_prefix ?? preset.stripPrefix,
    scopes: written.scopes ?? preset.scopes,
    strengths: new Map([...preset.strengths, ...strengthsOf(definedStrengths(written.strengths))]),
  }
}

/** Without what could not be read, which is reported: `parts` of a broken file come here too. */
function definedStrengths(written: WrittenInstance['provider']['strengths']): Readonly<Record<string, Partial<Omit<Strength, 'name'>>>> {
  return Object.fromEntries(
    Object.entries(written ?? {}).map(([name, { acr, amr, ask }]) => [
      name,
      { ...(acr === undefined ? {} : { acr }), ...(amr === undefined ? {} : { amr }), ...(ask === undefined ? {} : { ask: { ...ask } }) },
    ]),
  )
}
