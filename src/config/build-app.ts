/**
 * From an app or rule as written and checked to the value that `compilePolicy` takes. Nothing can fail here any more.
 */

import type { App, CompanyRule, HeaderSetting, IdentitySetting, MethodClass, Rule, Upstream } from '../policy/document.ts'
import { defaultRuleName } from './policy-checks.ts'
import type { WrittenApp, WrittenCompanyRule, WrittenRule } from './policy-schema.ts'

type FindAuthority = (caFile: string) => string | undefined

/** The app as a value; `findAuthority` gives the PEM text of a `ca_file`, `absolute` the path of a file named in its document. */
export function buildApp(written: WrittenApp, findAuthority: FindAuthority, absolute: (path: string) => string): App {
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
    report: undefined,
    setResponseHeaders: buildHeaders(written.set_response_headers),
    rules: written.rules.map(buildRule),
  }
}

/** A rule for all apps, or for those it selects. */
export function buildCompanyRule(written: WrittenCompanyRule, index: number): CompanyRule {
  return { ...buildRule(written, index), apps: written.apps, sensitivity: written.sensitivity }
}

function buildRule(written: WrittenRule, index: number): Rule {
  const who = written.allow ?? written.deny
  // The schema has seen to it; a rule without anybody would otherwise have to mean something.
  if (who === undefined) throw new TypeError('a rule without allow and deny was built')
  return {
    name: written.name ?? defaultRuleName(written, index),
    verb: written.allow === undefined ? 'deny' : 'allow',
    who,
    methods: written.methods === undefined ? undefined : splitMethods(written.methods),
    paths: written.paths,
    require: [],
    when: [],
    unless: [],
    from: undefined,
    until: undefined,
    isReport: false,
    isAlert: false,
  }
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
