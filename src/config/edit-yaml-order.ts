/**
 * Where a key that is added to a map is put: the order in which documents write the keys of an app, of a rule and of the whole.
 */

const whole = ['version', 'zone', 'levels', 'services', 'rules', 'apps']
const app = [
  'id',
  'name',
  'description',
  'owner',
  'help',
  'logo',
  'portal',
  'url',
  'upstream',
  'sensitivity',
  'report',
  'preserve_host',
  'strip_prefix',
  'identity',
  'session',
  'timeouts',
  'max_body',
  'path_rules',
  'called_by',
  'cross_site_posts',
  'pass_authorization',
  'set_request_headers',
  'remove_request_headers',
  'set_response_headers',
  'audit',
  'rules',
]
const rule = [
  'name',
  'allow',
  'deny',
  'require',
  'for',
  'apps',
  'sensitivity',
  'methods',
  'paths',
  'when',
  'unless',
  'from',
  'until',
  'mode',
  'alert',
]

/** The keys of a new app, in order. */
export const appKeys: readonly string[] = app
/** The keys of a new rule, in order. */
export const ruleKeys: readonly string[] = rule

/** Rank of a key beside these others; greatest where it has none. */
export function rankOfKey(key: string, beside: readonly string[]): number {
  const order = beside.includes('url') || beside.includes('id') ? app : beside.includes('apps') && !beside.includes('name') ? whole : rule
  const rank = order.indexOf(key)
  return rank === -1 ? order.length : rank
}
