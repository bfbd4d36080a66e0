/**
 * The policy document as a value: what an admin wrote, after `config` has checked it. Nothing here does anything.
 *
 * `src/config` is the only producer. A value of these types is complete and consistent: every name that is used is
 * defined, every address is claimed once, every pattern is canonical. `compilePolicy` turns it into what requests use.
 */

export type Sensitivity = 'open' | 'internal' | 'confidential' | 'restricted'

/** `read` is GET, HEAD and OPTIONS without Upgrade; `websocket` is any Upgrade; `write` is everything else. */
export type MethodClass = 'read' | 'write' | 'websocket'

export type Scalar = string | number | boolean

/** Whom a rule speaks of. A list in the document becomes `any_of`. */
export type Who =
  | { readonly kind: 'public' }
  | { readonly kind: 'everyone' }
  | { readonly kind: 'signed_in' }
  | { readonly kind: 'users'; readonly emails: readonly string[] }
  | { readonly kind: 'domains'; readonly domains: readonly string[] }
  | { readonly kind: 'groups'; readonly groups: readonly string[] }
  | { readonly kind: 'claims'; readonly claims: readonly ClaimSelector[] }
  | { readonly kind: 'services'; readonly names: readonly string[] }
  | { readonly kind: 'any_of'; readonly of: readonly Who[] }
  | { readonly kind: 'all_of'; readonly of: readonly Who[] }

/** One entry of `claims:`; `path` is split at its dots. The claim matches if it is, or contains, any of `values`. */
export interface ClaimSelector {
  readonly path: readonly string[]
  readonly values: readonly Scalar[]
}

/** What a provider's `acr` and `amr` mean here, named once in `provider.strengths`. Met by any of `acr` **or** any of `amr`. */
export interface Strength {
  readonly name: string
  readonly acr: readonly string[]
  readonly amr: readonly string[]
  /** Further authorization request parameters that make this provider ask for it; never one that the protocol needs itself. */
  readonly ask: Readonly<Record<string, string>>
}

/** A comparison with a version such as `>= 14.4`. */
export interface VersionBound {
  readonly operator: '>=' | '>' | '<=' | '<' | '='
  readonly version: string
}

export type Weekday = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun'

/** Where all keys of a condition's map are given, all hold; a list of values is any of them. `undefined`: not asked for. */
export interface SignInCondition {
  readonly kind: 'sign_in'
  readonly strength: Strength | undefined
  readonly acr: readonly string[] | undefined
  readonly amr: readonly string[] | undefined
  /** Greatest age of the latest authentication (`auth_time`). */
  readonly withinSeconds: number | undefined
}

export interface DeviceCondition {
  readonly kind: 'device'
  readonly known: boolean | undefined
  readonly managed: boolean | undefined
  readonly diskEncrypted: boolean | undefined
  readonly screenLock: boolean | undefined
  readonly firewall: boolean | undefined
  /** Any of them; a system that is not listed does not pass. `bound: undefined` accepts every version. */
  readonly os: readonly { readonly name: string; readonly bound: VersionBound | undefined }[] | undefined
  readonly serials: readonly string[] | undefined
  readonly tags: readonly string[] | undefined
  readonly attributes: readonly { readonly name: string; readonly values: readonly Scalar[] }[] | undefined
  /** Posture older than this is unknown. */
  readonly reportedWithinSeconds: number
  /** Whether the document wrote `reported_within`: then it is a condition by itself as well. */
  readonly isReportAsked: boolean
  readonly identifiedBy: 'certificate' | 'claim' | undefined
}

export interface NetworkCondition {
  readonly kind: 'network'
  /** Canonical networks; those of `cidrs_file` are read into here. */
  readonly cidrs: readonly string[] | undefined
  /** Absolute path they were read from: shown in explanations, watched for changes. Not part of the version. */
  readonly cidrsFile: string | undefined
  /** ISO 3166-1 alpha-2, upper-case. */
  readonly countries: readonly string[] | undefined
  readonly asns: readonly number[] | undefined
}

export interface TimeCondition {
  readonly kind: 'time'
  readonly days: readonly Weekday[] | undefined
  /** Minutes after local midnight, `from` included, `to` not (1440 is the day's end); `to <= from` crosses midnight and then belongs to the day it began on. */
  readonly between: readonly { readonly from: number; readonly to: number }[] | undefined
  /** IANA name; the document's where the condition names none. */
  readonly zone: string
  /** `YYYY-MM-DD` in `zone`, both days included. */
  readonly from: string | undefined
  readonly until: string | undefined
}

/** From the user agent: a hint, never proof. */
export interface ClientCondition {
  readonly kind: 'client'
  /** Lower-case names such as `chrome`, `firefox`, `safari`, `edge`. */
  readonly browsers: readonly string[] | undefined
  readonly browserVersion: VersionBound | undefined
  /** Lower-case names such as `macos`, `windows`, `linux`, `ios`, `android`, `chromeos`. */
  readonly os: readonly string[] | undefined
}

/** A CEL expression, type-checked when it was loaded. */
export interface ExpressionCondition {
  readonly kind: 'expression'
  readonly source: string
}

export type Condition =
  | { readonly kind: 'level'; readonly name: string }
  | { readonly kind: 'all_of' | 'any_of'; readonly of: readonly Condition[] }
  | { readonly kind: 'not'; readonly of: Condition }
  | { readonly kind: 'subject'; readonly who: Who }
  | SignInCondition
  | DeviceCondition
  | NetworkCondition
  | TimeCondition
  | ClientCondition
  | ExpressionCondition

/** A named, reusable condition. Levels may name others; `config` has made sure that they make no circle. */
export interface Level {
  readonly name: string
  readonly condition: Condition
}

/** Callers without a browser: who they are is what a verified access token says (RFC 9068). */
export interface Service {
  readonly name: string
  /** Exactly as in the token. */
  readonly issuer: string
  readonly audience: string
  /** Every one of them must be in `scope` (a string) or `scp` (a list). */
  readonly scopesAll: readonly string[]
  readonly claims: readonly ClaimSelector[]
  /** `undefined`: from the issuer's metadata. */
  readonly jwksUri: string | undefined
}

export interface Rule {
  /** The admin's name for it, unique within its app (or within the top level). Made from verb and position if none was given. */
  readonly name: string
  readonly verb: 'allow' | 'deny' | 'require'
  /** Whom it speaks of; of a `require`, its `for`. */
  readonly who: Who
  /** What a `require` demands, all of it; empty for the other verbs. */
  readonly require: readonly Condition[]
  /** All of them hold. */
  readonly when: readonly Condition[]
  /** Any of them takes the rule away. */
  readonly unless: readonly Condition[]
  /** `YYYY-MM-DD` in the document's zone, both days included. */
  readonly from: string | undefined
  readonly until: string | undefined
  /** Grants, denies and requires nothing; what it would have done is recorded. */
  readonly isReport: boolean
  /** Says so, loudly, when it is what decided. */
  readonly isAlert: boolean
  /** `undefined` means every method. Names are upper-case and never match an Upgrade. */
  readonly methods: { readonly names: readonly string[]; readonly classes: readonly MethodClass[] } | undefined
  /** Canonical patterns; `undefined` means every path. */
  readonly paths: readonly string[] | undefined
}

/** A rule at the top level: for every app, or for those that `apps` or `sensitivity` select. */
export interface CompanyRule extends Rule {
  readonly apps: readonly string[] | undefined
  readonly sensitivity: readonly Sensitivity[] | undefined
}

/** A public address: an origin, or an origin and a path prefix. */
export interface AppAddress {
  /** `https://payroll.corp.example` or with `:port` where it is not the scheme's own. As `URL.origin` prints it. */
  readonly origin: string
  /** Lower-case hostname, no port. */
  readonly hostname: string
  /** The port of the URL, default filled in. */
  readonly port: number
  /** `/` or a canonical prefix without trailing slash, such as `/tools/wiki`. */
  readonly prefix: string
}

export interface Upstream {
  /** Scheme, host and port only, such as `http://payroll.internal:8080`. */
  readonly origin: string
  /** A path that is put before the forwarded one; empty if none. No trailing slash. */
  readonly basePath: string
  /** PEM text of the only authorities accepted for it; `undefined`: the system's. */
  readonly ca: string | undefined
  /** Name to ask for and to verify in TLS, where it is not the URL's host. */
  readonly serverName: string | undefined
}

/** How the identity is stated to the upstream in headers; see `docs/upstream.md`. */
export type IdentitySetting =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'headers'
      /** Header name for each fact, lower-case; `undefined` leaves that header out. */
      readonly user: string | undefined
      readonly email: string | undefined
      readonly preferredUsername: string | undefined
      readonly groups: string | undefined
      /** Further headers: lower-case name to a claim path. */
      readonly extra: readonly { readonly header: string; readonly path: readonly string[] }[]
      readonly groupsSeparator: string
      /** Only groups that match one of these patterns (`*` for any run of characters); `undefined`: all. */
      readonly onlyGroups: readonly string[] | undefined
    }

export type PathRule = 'encoded_slash' | 'semicolon' | 'double_slash'

/** A header that Postern sets. A secret is named by the id it has in the instance configuration's `secrets:`. */
export interface HeaderSetting {
  readonly name: string
  readonly value: { readonly kind: 'text'; readonly text: string } | { readonly kind: 'secret'; readonly id: string }
}

/** How requests for one app are recorded. */
export interface AppAuditSetting {
  /** `first_segment`: `/records/4711` becomes `/records/…`. What is left out is unknown to a replay. */
  readonly paths: 'full' | 'first_segment' | 'none'
  /** `undefined`: as the instance says, else by sensitivity. */
  readonly durability: 'relaxed' | 'group' | undefined
  readonly whenFull: 'deny' | 'drop' | undefined
}

export interface App {
  readonly id: string
  readonly name: string
  readonly description: string | undefined
  readonly owner: string | undefined
  /** Where to ask for access: a URL or an e-mail address. */
  readonly help: string | undefined
  /** Absolute path of a picture file; the portal shows it. */
  readonly logo: string | undefined
  readonly portal: 'if_relevant' | 'if_allowed' | 'listed' | 'hidden'
  readonly address: AppAddress
  /** At least one; tried in turn. */
  readonly upstreams: readonly Upstream[]
  readonly sensitivity: Sensitivity
  readonly preserveHost: boolean
  readonly identity: IdentitySetting
  /** Stricter than the instance's where given. */
  readonly session: { readonly idleTimeoutSeconds: number | undefined; readonly lifetimeSeconds: number | undefined }
  readonly timeouts: {
    readonly connectSeconds: number
    /** Until the first byte of the answer's head. */
    readonly responseSeconds: number
    /** Silence allowed within a body or a WebSocket. */
    readonly idleSeconds: number
  }
  /** Ids of apps whose pages may send `write` and `websocket` requests here with the person's cookie. */
  readonly calledBy: readonly string[]
  readonly crossSitePosts: readonly string[]
  readonly pathRules: readonly PathRule[]
  /** Bytes; `undefined` for no limit. */
  readonly maxBodyBytes: number | undefined
  /** Cut from the path before forwarding: the prefix of the address. */
  readonly stripPrefix: boolean
  readonly passAuthorization: boolean
  readonly setRequestHeaders: readonly HeaderSetting[]
  readonly removeRequestHeaders: readonly string[]
  readonly setResponseHeaders: readonly HeaderSetting[]
  /** Missing allows and unmet requires are passes for these people until that day (`YYYY-MM-DD`, included), and recorded as such. */
  readonly report: { readonly until: string | undefined; readonly pass: Who } | undefined
  readonly audit: AppAuditSetting
  readonly rules: readonly Rule[]
}

export interface PolicyDocument {
  /** `sha256-` and the first 16 hex digits of the hash of the canonical form. */
  readonly version: string
  /** IANA name; for hours and dates that name none. */
  readonly zone: string
  readonly levels: readonly Level[]
  readonly services: readonly Service[]
  readonly rules: readonly CompanyRule[]
  readonly apps: readonly App[]
}
