/**
 * The instance configuration as a value: addresses, provider, store, keys. It needs a restart to change.
 *
 * `loadConfiguration` is the only producer: environment overrides are applied, `*_file` and `${ENV}` secrets are read,
 * paths are absolute, durations are seconds. Secrets are wrapped, so that printing a configuration cannot print one.
 */

import type { IdentityProviderPreset } from '../oidc/relying-party.ts'
import type { Strength, Who } from '../policy/document.ts'
import type { RedactedField } from '../policy/facts.ts'

/** A secret that shows `***` to every printer (`JSON.stringify`, `util.inspect`, template strings). Read it with `reveal`. */
export class Secret {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  reveal(): string {
    return this.#text
  }
  toString(): string {
    return '***'
  }
  toJSON(): string {
    return '***'
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '***'
  }
}

export interface HostPort {
  /** As written: an address or a name, without brackets. */
  readonly host: string
  readonly port: number
}

export interface InstanceConfiguration {
  /** The access host's URL, origin only. Its scheme decides cookie prefixes and `Secure`. */
  readonly url: URL
  readonly listen: HostPort
  /** Empty behind a TLS-terminating balancer. */
  readonly tls: readonly { readonly certFile: string; readonly keyFile: string }[]
  readonly httpRedirect: HostPort | undefined
  readonly hstsSeconds: number | undefined
  /** CIDRs; right-most address of `X-Forwarded-For` outside them is the client. Empty trusts nobody. */
  readonly trustedProxies: readonly string[]
  readonly operations: HostPort
  readonly provider: ProviderConfiguration
  readonly session: SessionConfiguration
  readonly limits: LimitsConfiguration
  readonly keysFile: string
  readonly dataDir: string
  /** `managed`: the store holds the policy's revisions; `policyPath` is only what the first is made of. */
  readonly policyMode: 'files' | 'managed'
  /** A file, or a folder of `*.yaml`. */
  readonly policyPath: string
  /** Whether what is published of a managed policy needs a second admin's approval. */
  readonly policyTwoPerson: boolean
  /** With a managed policy, where apps may lead: hosts, `*.` names below one, with or without a port, and networks. `undefined`: anywhere but where no policy may. */
  readonly upstreamsAllow: readonly string[] | undefined
  /** Whether people may ask for access on the portal. */
  readonly areRequestsOn: boolean
  /** `required`: a policy whose own tests fail never takes effect, neither at start nor later. */
  readonly policyTests: 'optional' | 'required'
  /** Absolute paths of `.mmdb` files. They may be missing: what they would say is unknown until they are there. */
  readonly facts: { readonly countryFile: string | undefined; readonly asnFile: string | undefined }
  /** `undefined`: nobody is asked for a certificate. */
  readonly clientCertificate: ClientCertificateConfiguration | undefined
  readonly console: ConsoleConfiguration
  readonly audit: AuditConfiguration
  /** `undefined`: no span is made and nothing of OpenTelemetry is loaded. */
  readonly tracing: TracingConfiguration | undefined
  /** Values for `secret: ID` in the policy document. */
  readonly secrets: ReadonlyMap<string, Secret>
  readonly brand: { readonly name: string; readonly logoFile: string | undefined; readonly support: string | undefined }
}

/** Who may use the console, and how. */
export interface ConsoleConfiguration {
  readonly admin: Who | undefined
  readonly auditor: Who | undefined
  readonly helpdesk: Who | undefined
  /** Names of levels that everybody with a role has to meet. */
  readonly requiredLevels: readonly string[]
  /** How old the sign-in of somebody who changes something may be. */
  readonly signInWithinSeconds: number
}

export interface AuditConfiguration {
  /** Whether query strings are recorded. */
  readonly query: 'drop' | 'keep'
  /** `group`: an allowed request waits until its decision is on the disk. `undefined`: `group` for `restricted` apps, else `relaxed`. */
  readonly durability: 'relaxed' | 'group' | undefined
  /** What becomes of requests whose line finds no room. `undefined`: `deny` for `restricted` apps, else `drop`. */
  readonly whenFull: 'deny' | 'drop' | undefined
  readonly keep: { readonly ageSeconds: number; readonly bytes: number }
  /** Claims that are recorded besides those that the policy speaks of; split at dots. */
  readonly recordClaims: readonly (readonly string[])[]
  /** What is left out of lines, and is `unknown(redacted)` to a replay. */
  readonly redact: readonly RedactedField[]
  /** How many events the store keeps for the console; 0: none. */
  readonly windowEvents: number
  readonly sinks: readonly AuditSinkConfiguration[]
}

/** A receiver of the trail. `name` tells its remembered position apart from others'. */
export type AuditSinkConfiguration = { readonly name: string } & (
  | { readonly type: 'stdout' }
  | { readonly type: 'file'; readonly path: string }
  | {
      readonly type: 'syslog'
      readonly host: string
      readonly port: number
      readonly tls:
        | { readonly caFile: string | undefined; readonly certFile: string | undefined; readonly keyFile: string | undefined }
        | undefined
      /** RFC 5424 facility, 0–23. */
      readonly facility: number
    }
  | {
      readonly type: 'http'
      readonly url: URL
      /** `json`: an array of events. `otlp`: OpenTelemetry logs as OTLP/HTTP JSON. */
      readonly format: 'json' | 'splunk' | 'elastic' | 'otlp'
      readonly token: Secret | undefined
      /** Of Elastic's bulk form. */
      readonly index: string | undefined
      readonly caFile: string | undefined
    }
)

/** Where spans go: an OpenTelemetry collector that takes OTLP over HTTP. */
export interface TracingConfiguration {
  /** Its base address; `/v1/traces` is added. */
  readonly endpoint: URL
  /** Part of the requests that are traced, from 0 to 1. Of those that come from a trusted proxy with a trace, the proxy chose. */
  readonly sample: number
  readonly serviceName: string
  /** Sent with every batch, such as `authorization`. */
  readonly headers: ReadonlyMap<string, Secret>
}

export interface ProviderConfiguration {
  readonly issuer: URL
  readonly preset: IdentityProviderPreset | undefined
  readonly clientId: string
  /** Exactly one of the two, checked at load. */
  readonly clientSecret: Secret | undefined
  /** Path of a PEM private key (PKCS #8) for `private_key_jwt`. */
  readonly clientKeyFile: string | undefined
  readonly scopes: readonly string[]
  readonly claims: {
    /** Claim paths, tried in turn, split at dots. */
    readonly groups: readonly (readonly string[])[]
    readonly deviceId: readonly string[] | undefined
    /** Attribute name to the path of the claim that states it. */
    readonly posture: ReadonlyMap<string, readonly string[]>
  }
  /** By name: the preset's, and those that are written. */
  readonly strengths: ReadonlyMap<string, Strength>
  readonly groups: { readonly stripPrefix: string; readonly names: ReadonlyMap<string, string> }
  readonly groupsWhenMissing: 'unknown' | 'none'
  readonly email: 'verified' | 'trusted'
  readonly providerGraceSeconds: number
  readonly withoutRefreshToken: 'reauthenticate' | 'accept'
  readonly dangerouslyAllowHttp: boolean
}

export interface ClientCertificateConfiguration {
  /** PEM file; holds at least one certificate. */
  readonly caFile: string
  readonly crlFile: string | undefined
  /** Headers count from `trustedProxies` only, of which there is then at least one. */
  readonly from: 'listener' | 'client_cert' | 'xfcc'
}

export interface SessionConfiguration {
  readonly store: { readonly kind: 'embedded' } | { readonly kind: 'redis'; readonly url: Secret }
  readonly idleTimeoutSeconds: number
  readonly lifetimeSeconds: number
  readonly refreshAfterSeconds: number
  readonly claimsMaxAgeSeconds: number
  /** How long memory may serve while nothing confirms it, five minutes at the most; `undefined`: no longer than ever, five seconds. */
  readonly unverifiedForSeconds: number | undefined
  /** How long open connections live on while the store is away. */
  readonly storeGraceSeconds: number
}

export interface LimitsConfiguration {
  readonly headerBytes: number
  readonly headers: number
  readonly headerSeconds: number
  readonly requestSeconds: number
  readonly idleSeconds: number
  readonly connections: number
  /** Longest form that is kept during a sign-in; 0: none is. */
  readonly keptPostBytes: number
}
