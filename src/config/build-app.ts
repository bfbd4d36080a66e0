/**
 * From an app or rule as written and checked to the value that `compilePolicy` takes. Nothing can fail here any more.
 */

import type { App, CompanyRule, Condition, HeaderSetting, IdentitySetting, MethodClass, Rule, Upstream } from '../policy/document.ts'
import type { WrittenCondition } from './condition-schema.ts'
import { defaultRuleName } from './policy-parts.ts'
import type { WrittenApp } from './policy-schema.ts'
import type { WrittenCompanyRule, WrittenRule } from './rule-schema.ts'

type FindAuthority = (caFile: string) => string | undefined
type Resolve = (condition: WrittenCondition) => Condition

/** What a document's own place and instance put in. */
export interface Surroundings {
  /** PEM text of a `ca_file`. */
  readonly findAuthority: FindAuthority
  /** Path of a file named in the document. */
  readonly absolute: (path: string) => string
  readonly resolve: Resolve
}

/** The app as a value. */
export function buildApp(written: WrittenApp, { findAuthority, absolute, resolve }: Surroundings): App {
  return {
    id: written.id,
    name: written.name ?? written.id,
    description: written.description,
    owner: written.owner,
    help: written.help,
    logo: written.logo === undefined ? undefined : absolute(written.logo),
    portal: written.portal,
    address: written.url,
    upstreams: (Array.isArray(written.upstream) ? written.upstream : [written.upstream]).map((entry) =>
      buildUpstream(entry, findAuthority),
    ),
    sensitivity: written.sensitivity,
    preserveHost: written.preserve_host,
    identity: buildIdentity(written.identity),
    session: { idleTimeoutSeconds: written.session.idle_timeout, lifetimeSeconds: written.session.lifetime },
    timeouts: {
      connectSeconds: written.timeouts.connect,
      responseSeconds: written.timeouts.response,
      idleSeconds: written.timeouts.idle,
    },
    calledBy: written.called_by ?? [],
    crossSitePosts: written.cross_site_posts ?? [],
    pathRules: written.path_rules ?? [],
    maxBodyBytes: written.max_body,
    stripPrefix: written.strip_prefix,
    passAuthorization: written.pass_authorization,
    setRequestHeaders: buildHeaders(written.set_request_headers),
    removeRequestHeaders: written.remove_request_headers ?? [],
    report: written.report === undefined ? undefined : { until: written.report.until, pass: written.report.pass },
    setResponseHeaders: buildHeaders(written.set_response_headers),
    audit: { paths: written.audit.paths, durability: written.audit.durability, whenFull: written.audit.when_full },
    rules: written.rules.map((rule, index) => buildRule(rule, index, resolve)),
  }
}

/** A rule for all apps, or for those it selects. */
export function buildCompanyRule(written: WrittenCompanyRule, index: number, resolve: Resolve): CompanyRule {
  return { ...buildRule(written, index, resolve), apps: written.apps, sensitivity: written.sensitivity }
}

function buildRule(written: WrittenRule, index: number, resolve: Resolve): Rule {
  const listed = (conditions: WrittenRule['when']) => listOrOne(conditions).map(resolve)
  return {
    name: written.name ?? defaultRuleName(written, index),
    ...buildVerb(written),
    methods: written.methods === undefined ? undefined : splitMethods(written.methods),
    paths: written.paths,
    require: listed(written.require),
    when: listed(written.when),
    unless: listed(written.unless),
    from: written.from,
    until: written.until,
    isReport: written.mode === 'report',
    isAlert: written.alert,
  }
}

function buildVerb(written: WrittenRule): Pick<Rule, 'verb' | 'who'> {
  if (written.allow !== undefined) return { verb: 'allow', who: written.allow }
  if (written.deny !== undefined) return { verb: 'deny', who: written.deny }
  // The schema has seen to it; a rule without anybody would otherwise have to mean something.
  if (written.require === undefined) throw new TypeError('a rule without a verb was built')
  return { verb: 'require', who: written.for ?? { kind: 'signed_in' } }
}

function listOrOne(conditions: WrittenRule['when']): readonly WrittenCondition[] {
  if (conditions === undefined) return []
  return Array.isArray(conditions) ? (conditions as readonly WrittenCondition[]) : [conditions as WrittenCondition]
}

function isMethodClass(method: string): method is MethodClass {
  return method === 'read' || method === 'write' || method === 'websocket'
}

function splitMethods(methods: readonly string[]): NonNullable<Rule['methods']> {
  return { names: methods.filter((method) => !isMethodClass(method)), classes: methods.filter(isMethodClass) }
}

type WrittenUpstream = Exclude<WrittenApp['upstream'], readonly unknown[]>

function buildUpstream(written: WrittenUpstream, findAuthority: FindAuthority): Upstream {
  const isMap = !('basePath' in written)
  const { url, basePath } = isMap ? written.url : written
  return {
    origin: url.origin,
    basePath,
    ca: isMap && written.ca_file !== undefined ? findAuthority(written.ca_file) : undefined,
    serverName: isMap ? written.server_name : undefined,
  }
}

function buildIdentity(written: WrittenApp['identity']): IdentitySetting {
  if (written === 'none') return { kind: 'none' }
  const nameOr = (name: string | undefined, usual: string) => (name === 'none' ? undefined : (name ?? usual))
  return {
    kind: 'headers',
    user: nameOr(written?.user, 'x-forwarded-user'),
    email: nameOr(written?.email, 'x-forwarded-email'),
    preferredUsername: nameOr(written?.preferred_username, 'x-forwarded-preferred-username'),
    groups: nameOr(written?.groups, 'x-forwarded-groups'),
    extra: Object.entries(written?.add ?? {}).map(([header, path]) => ({ header: header.toLowerCase(), path })),
    groupsSeparator: written?.groups_separator ?? ',',
    onlyGroups: written?.only_groups,
  }
}

type WrittenHeaders = NonNullable<WrittenApp['set_request_headers']>

function buildHeaders(written: WrittenHeaders | undefined): readonly HeaderSetting[] {
  return Object.entries(written ?? {}).map(([name, value]) => ({
    name,
    value: typeof value === 'string' ? { kind: 'text', text: value } : { kind: 'secret', id: value.secret },
  }))
}
