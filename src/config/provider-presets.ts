/**
 * What the presets of `provider.preset` fill in. A key that is written always wins; lists are replaced, not joined.
 *
 * Only differences between providers stand here. Entra and Okta give a refresh token only for `offline_access`; with Keycloak that
 * scope would start an offline session that outlives the person's own, so it is not asked for there.
 */

import type { IdentityProviderPreset } from '../oidc/relying-party.ts'
import type { WrittenInstance } from './instance-schema.ts'

interface Preset {
  readonly groupClaims: readonly (readonly string[])[]
  readonly stripPrefix: string
  readonly scopes: readonly string[]
}

const usual: Preset = { groupClaims: [['groups']], stripPrefix: '', scopes: ['openid', 'profile', 'email'] }

const presets: Readonly<Record<IdentityProviderPreset, Preset>> = {
  // The groups mapper writes full paths ("/finance") unless told otherwise.
  keycloak: { ...usual, groupClaims: [['groups'], ['realm_access', 'roles']], stripPrefix: '/' },
  // Groups come as object ids (rename them with `groups.names`), app roles under their own names.
  entra: { ...usual, groupClaims: [['groups'], ['roles']], scopes: [...usual.scopes, 'offline_access'] },
  okta: { ...usual, scopes: [...usual.scopes, 'offline_access'] },
  // Google states no groups; `hd` is the Workspace domain and is used with `claims: { hd: … }`.
  google: usual,
}

/** The provider's claim places, prefix and scopes with the preset's defaults filled in. */
export function fillPreset(written: WrittenInstance['provider']): Preset {
  const preset = written.preset === undefined ? usual : presets[written.preset]
  return {
    groupClaims: written.claims?.groups ?? preset.groupClaims,
    stripPrefix: written.groups?.strip_prefix ?? preset.stripPrefix,
    scopes: written.scopes ?? preset.scopes,
  }
}
