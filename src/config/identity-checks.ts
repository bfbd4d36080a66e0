/**
 * Identity headers of one app: each name carries one fact, and no header rule of the same app may set or remove it.
 *
 * Names are compared as CGI-style upstreams see them (see `header-names.ts`): two that differ in case or `_` are one there, and the later
 * one would silently win.
 */

import { foldHeaderName } from './header-names.ts'
import type { Partially } from './parse-value.ts'
import type { WrittenApp } from './policy-schema.ts'
import type { Path, Report } from './problems.ts'

/** Reports names that are used twice, or by `identity` and a header rule. */
export function checkIdentityHeaders(app: Partially<WrittenApp>, path: Path, report: Report): void {
  const identity = app.identity
  if (identity === undefined || typeof identity === 'string') return
  const used = new Map<string, Path>()
  const claim = (name: string | undefined, at: Path) => {
    if (name === undefined || name === 'none') return
    const folded = foldHeaderName(name)
    if (used.has(folded)) report.problem(at, 'this header already carries another fact')
    used.set(folded, at)
  }
  for (const key of ['user', 'email', 'preferred_username', 'groups'] as const) claim(identity[key], [...path, 'identity', key])
  for (const name of Object.keys(identity.add ?? {})) claim(name, [...path, 'identity', 'add', name])
  for (const name of [...Object.keys(app.set_request_headers ?? {}), ...(app.remove_request_headers ?? [])]) {
    const at = name === undefined ? undefined : used.get(foldHeaderName(name))
    if (at !== undefined) report.problem(at, 'this identity header is also set or removed by a header rule of the app')
  }
}
