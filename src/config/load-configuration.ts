/**
 * The instance configuration from file and environment to one checked value: the only producer of `InstanceConfiguration`.
 *
 * In order: read YAML, lay the environment over it, judge each value, resolve secrets and files, judge what depends on several
 * keys. No step stops at a problem; the report is complete, and `parts` holds what was good, so that the policy document can be
 * checked in the same run. Nothing here connects anywhere.
 */

import { dirname, resolve } from 'node:path'
import { resolveSinks } from './audit-sink-settings.ts'
import { buildAudit } from './build-audit.ts'
import { applyOverrides } from './environment-overrides.ts'
import {
  type ClientCertificateConfiguration,
  type InstanceConfiguration,
  type ProviderConfiguration,
  Secret,
  type SessionConfiguration,
} from './instance.ts'
import { checkInstance } from './instance-checks.ts'
import { instanceSchema, type WrittenInstance } from './instance-schema.ts'
import { type Partially, parseValue } from './parse-value.ts'
import { createReport, type Loaded, type Path, type Problem, type Report } from './problems.ts'
import { fillPreset } from './provider-presets.ts'
import { type Environment, hasReference, resolveSecret } from './secret-values.ts'
import { resolveStore } from './store-address.ts'
import { buildTracing } from './tracing-schema.ts'
import { loadYamlSource } from './yaml-source.ts'

export { describeProblem, type Loaded, type Problem, printProblems } from './problems.ts'

export interface LoadedConfiguration extends Loaded<InstanceConfiguration> {
  /** What could be read although something else is wrong; for checking the policy document in the same run, and nothing else. */
  readonly parts: Partial<InstanceConfiguration>
}

/** Loads `file` with the overrides of `environment` (the process's own). Never rejects; what is wrong is in the result. */
export async function loadConfiguration(file: string, environment: Environment = process.env): Promise<LoadedConfiguration> {
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  const source = await loadYamlSource(file, lists)
  if (source.data === undefined) return { value: undefined, ...lists, parts: {} }

  const { data, placeOf } = applyOverrides(instanceSchema, source.data, environment, source.report)
  const report = createReport(file, (path, part) => placeOf(path) ?? source.report.place(path, part), lists)
  refuseReferences(data, [], report)
  // A name that ends in `_file` is the form with a path: `wiki_token_file` defines `wiki_token`.
  const { parts } = parseValue(instanceSchema, data, report)
  if (parts === undefined || typeof parts !== 'object') return { value: undefined, ...lists, parts: {} }

  const absolute = (path: string) => resolve(dirname(file), path)
  const secrets = await resolveSecrets({ path: ['secrets'], written: parts.secrets }, environment, report, absolute)
  const headers = await resolveSecrets({ path: ['tracing', 'headers'], written: parts.tracing?.headers }, environment, report, absolute)
  const store = await resolveStore(parts.session, environment, report, absolute)
  const clientSecret = await resolveSecret(
    {
      path: ['provider', 'client_secret'],
      written: parts.provider?.client_secret,
      file: parts.provider?.client_secret_file === undefined ? undefined : absolute(parts.provider.client_secret_file),
      leastLength: 16,
    },
    environment,
    report,
  )
  const dataDir = parts.data_dir === undefined ? undefined : absolute(parts.data_dir)
  const sinks = await resolveSinks(parts.audit?.sinks, { environment, report, absolute, dataDir })
  await checkInstance(parts, report, absolute)
  const tracing = buildTracing(parts.tracing, headers)
  const known = buildParts(parts, { secrets, store, clientSecret, tracing, sinks }, absolute)
  const isGood = lists.problems.length === 0
  return { value: isGood ? (known as InstanceConfiguration) : undefined, ...lists, parts: known }
}

interface Resolved {
  readonly secrets: ReadonlyMap<string, Secret>
  readonly store: SessionConfiguration['store'] | undefined
  readonly clientSecret: Secret | undefined
  readonly tracing: InstanceConfiguration['tracing']
  readonly sinks: InstanceConfiguration['audit']['sinks']
}

/** Every field whose own keys are good. All are there when nothing was reported, which is when the result counts as whole. */
function buildParts(
  written: Partially<WrittenInstance>,
  { secrets, store, clientSecret, tracing, sinks }: Resolved,
  absolute: (path: string) => string,
): Partial<InstanceConfiguration> {
  const whole = written as WrittenInstance
  const { provider, session, limits } = written
  const audit = buildAudit(written.audit, sinks)
  return {
    ...(written.url === undefined ? {} : { url: written.url }),
    ...(written.listen === undefined ? {} : { listen: whole.listen }),
    tls: (whole.tls ?? []).filter(isComplete).map((pair) => ({ certFile: absolute(pair.cert_file), keyFile: absolute(pair.key_file) })),
    httpRedirect: whole.http_redirect,
    hstsSeconds: written.hsts,
    trustedProxies: (written.trusted_proxies ?? []).filter((cidr) => cidr !== undefined),
    ...(written.operations === undefined ? {} : { operations: whole.operations }),
    ...(provider === undefined ? {} : buildProvider(whole.provider, clientSecret, absolute)),
    ...(session === undefined || store === undefined
      ? {}
      : {
          session: {
            store,
            idleTimeoutSeconds: whole.session.idle_timeout,
            lifetimeSeconds: whole.session.lifetime,
            refreshAfterSeconds: whole.session.refresh_after,
            claimsMaxAgeSeconds: whole.session.claims_max_age,
            unverifiedForSeconds: whole.session.unverified_for,
            storeGraceSeconds: whole.session.store_grace,
          },
        }),
    ...(limits === undefined
      ? {}
      : {
          limits: {
            headerBytes: whole.limits.header_bytes,
            headers: whole.limits.headers,
            headerSeconds: whole.limits.header_time,
            requestSeconds: whole.limits.request_time,
            idleSeconds: whole.limits.idle_time,
            connections: whole.limits.connections,
            keptPostBytes: whole.limits.kept_post,
          },
        }),
    ...(written.keys_file === undefined ? {} : { keysFile: absolute(written.keys_file) }),
    ...(written.data_dir === undefined ? {} : { dataDir: absolute(written.data_dir) }),
    ...(written.policy === undefined
      ? {}
      : written.policy === 'managed'
        ? { policyMode: 'managed', policyPath: absolute(written.policy_seed ?? 'policy.yaml') }
        : { policyMode: 'files', policyPath: absolute(written.policy) }),
    policyTwoPerson: written.policy_two_person ?? false,
    upstreamsAllow: whole.upstreams?.allow,
    areRequestsOn: written.requests === 'on',
    ...(written.policy_tests === undefined ? {} : { policyTests: written.policy_tests }),
    facts: {
      countryFile: written.facts?.country_file === undefined ? undefined : absolute(written.facts.country_file),
      asnFile: written.facts?.asn_file === undefined ? undefined : absolute(written.facts.asn_file),
    },
    clientCertificate: buildClientCertificate(written.client_certificate, absolute),
    console: {
      admin: whole.console?.roles?.admin,
      auditor: whole.console?.roles?.auditor,
      helpdesk: whole.console?.roles?.helpdesk,
      requiredLevels: whole.console?.require ?? [],
      signInWithinSeconds: whole.console?.sign_in_within ?? 3600,
    },
    ...(audit === undefined ? {} : { audit }),
    tracing,
    secrets,
    ...(written.brand?.name === undefined
      ? {}
      : {
          brand: {
            name: written.brand.name,
            logoFile: written.brand.logo_file === undefined ? undefined : absolute(written.brand.logo_file),
            support: written.brand.support,
          },
        }),
  }
}

function isComplete(pair: WrittenInstance['tls'][number] | undefined): pair is WrittenInstance['tls'][number] {
  return pair?.cert_file !== undefined && pair.key_file !== undefined
}

function buildClientCertificate(
  written: Partially<WrittenInstance>['client_certificate'],
  absolute: (path: string) => string,
): ClientCertificateConfiguration | undefined {
  if (written?.ca_file === undefined || written.from === undefined) return undefined
  return {
    caFile: absolute(written.ca_file),
    crlFile: written.crl_file === undefined ? undefined : absolute(written.crl_file),
    from: written.from,
  }
}

function buildProvider(
  written: WrittenInstance['provider'],
  clientSecret: Secret | undefined,
  absolute: (path: string) => string,
): { provider?: ProviderConfiguration } {
  if (typeof written.issuer !== 'string' || !URL.canParse(written.issuer)) return {}
  const filled = fillPreset(written)
  return {
    provider: {
      issuer: new URL(written.issuer),
      preset: written.preset,
      clientId: written.client_id,
      clientSecret,
      clientKeyFile: written.client_key_file === undefined ? undefined : absolute(written.client_key_file),
      scopes: filled.scopes,
      claims: {
        groups: filled.groupClaims,
        deviceId: written.claims?.device_id,
        posture: new Map(Object.entries(written.claims?.device ?? {})),
      },
      strengths: filled.strengths,
      groups: { stripPrefix: filled.stripPrefix, names: new Map(Object.entries(written.groups?.names ?? {})) },
      groupsWhenMissing: written.groups_when_missing,
      email: written.email,
      providerGraceSeconds: written.provider_grace,
      withoutRefreshToken: written.without_refresh_token,
      dangerouslyAllowHttp: written.dangerously_allow_http,
    },
  }
}

/** A map of secrets by name; one that ends in `_file` is the form with a path. */
async function resolveSecrets(
  { path, written }: { readonly path: Path; readonly written: Readonly<Record<string, string | undefined>> | undefined },
  environment: Environment,
  report: Report,
  absolute: (path: string) => string,
): Promise<ReadonlyMap<string, Secret>> {
  const secrets = new Map<string, Secret>()
  const names = new Set(Object.keys(written ?? {}).map((key) => key.replace(/_file$/, '')))
  for (const name of names) {
    const file = written?.[`${name}_file`]
    const secret = await resolveSecret(
      { path: [...path, name], written: written?.[name], file: file === undefined ? undefined : absolute(file), leastLength: 8 },
      environment,
      report,
    )
    // A secret that could not be read still exists by name; the policy is not blamed for it as well.
    secrets.set(name, secret ?? unresolved)
  }
  return secrets
}

/** Stands for a secret that is written but could not be read; a configuration with one never becomes a value. */
const unresolved = new Secret('')

/** The environment is expanded in secrets alone; elsewhere a `${NAME}` would be taken literally, which nobody means. */
function refuseReferences(data: unknown, path: Path, report: Report): void {
  if (typeof data === 'string') {
    if (!hasReference(data) || isSecretPath(path)) return
    const variable = path.every((step) => typeof step === 'string') ? `POSTERN_${path.join('__').toUpperCase()}` : undefined
    report.problem(path, 'the environment is expanded in secrets only', {
      suggestion: variable === undefined ? 'write the value itself' : `write the value itself, or set ${variable}`,
    })
  } else if (Array.isArray(data)) {
    for (const [index, item] of data.entries()) refuseReferences(item, [...path, index], report)
  } else if (typeof data === 'object' && data !== null) {
    for (const [key, value] of Object.entries(data)) refuseReferences(value, [...path, key], report)
  }
}

function isSecretPath(path: Path): boolean {
  const text = path.join('.')
  if (text === 'provider.client_secret' || text === 'session.store') return true
  const [section, key] = path
  if (section === 'audit') return key === 'sinks' && path.length === 4 && path[3] === 'token'
  return (section === 'secrets' && path.length === 2) || (section === 'tracing' && key === 'headers' && path.length === 3)
}
