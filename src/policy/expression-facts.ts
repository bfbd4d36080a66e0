/**
 * The facts as an expression sees them: five variables with named fields, each computed only when the expression touches it.
 *
 * A fact that is not known is no field at all: touching it fails, and what fails is unknown. So is a fact larger than `factLimits`, on which
 * the bound on an expression's work rests. Nobody and services are known to have no e-mail and no groups: empty, not unknown.
 */

import { readAttribute } from './device-posture.ts'
import { boundKnownList, boundKnownText, boundList, boundText, convertClaims, convertWhole } from './expression-values.ts'
import type { DeviceAttribute, EnvironmentFacts, Facts, RequestFacts, SubjectFacts } from './facts.ts'
import { normaliseEmail } from './who.ts'

/** The fields that there are, with their CEL types. Whole numbers in claims and attributes are `int`, others `double`. */
export const expressionFields = {
  subject: {
    kind: 'string',
    email: 'string',
    groups: 'list<string>',
    issuer: 'string',
    sub: 'string',
    services: 'list<string>',
    claims: 'map<string, dyn>',
  },
  sign_in: { acr: 'string', amr: 'list<string>', age: 'double' },
  device: {
    id: 'string',
    identified_by: 'string',
    known: 'bool',
    serial: 'string',
    tags: 'list<string>',
    managed: 'bool',
    disk_encrypted: 'bool',
    screen_lock: 'bool',
    firewall: 'bool',
    os: 'string',
    os_version: 'string',
    attributes: 'map<string, dyn>',
  },
  environment: {
    address: 'string',
    at: 'double',
    country: 'string',
    asn: 'int',
    scheme: 'string',
    tls_version: 'string',
    browser: 'string',
    browser_version: 'string',
    client_os: 'string',
  },
  request: { method: 'string', method_class: 'string', path: 'string' },
} as const

/** Posture older than this does not exist for an expression. */
export const reportedWithinSeconds = 86_400

const noClaims: ReadonlyMap<string, unknown> = new Map()

/** As in `sign_in: {within}`: a provider's clock may run ahead of ours by this much. */
const toleratedSkewMilliseconds = 60_000

/** Builds the variables of one evaluation. Costs little: nothing is read before the expression reads it. */
export function viewFacts(facts: Facts): ExpressionVariables {
  return {
    subject: new SubjectView(facts.subject),
    sign_in: new SignInView(facts),
    device: new DeviceView(facts),
    environment: new EnvironmentView(facts.environment),
    request: new RequestView(facts.request),
  }
}

export interface ExpressionVariables {
  readonly subject: SubjectView
  readonly sign_in: SignInView
  readonly device: DeviceView
  readonly environment: EnvironmentView
  readonly request: RequestView
}

export class SubjectView {
  readonly #subject: SubjectFacts
  constructor(subject: SubjectFacts) {
    this.#subject = subject
  }
  get kind(): string {
    return this.#subject.kind
  }
  get email(): string | undefined {
    if (this.#subject.kind !== 'person') return ''
    return this.#subject.email.known ? boundText(normaliseEmail(this.#subject.email.value)) : undefined
  }
  get groups(): readonly string[] | undefined {
    return this.#subject.kind === 'person' ? boundKnownList(this.#subject.groups) : []
  }
  get issuer(): string | undefined {
    return this.#subject.kind === 'nobody' ? '' : boundText(this.#subject.issuer)
  }
  get sub(): string | undefined {
    return this.#subject.kind === 'person' ? boundText(this.#subject.sub) : ''
  }
  get services(): readonly string[] | undefined {
    return this.#subject.kind === 'service' ? boundList(this.#subject.names) : []
  }
  get claims(): ReadonlyMap<string, unknown> | undefined {
    if (this.#subject.kind === 'nobody') return noClaims
    if (this.#subject.kind === 'service') return convertClaims(this.#subject.claims)
    return this.#subject.claims.known ? convertClaims(this.#subject.claims.value) : undefined
  }
}

export class SignInView {
  readonly #facts: Facts
  constructor(facts: Facts) {
    this.#facts = facts
  }
  get acr(): string | undefined {
    const { signIn } = this.#facts
    return signIn.known ? boundKnownText(signIn.value.acr) : undefined
  }
  get amr(): readonly string[] | undefined {
    const { signIn } = this.#facts
    return signIn.known ? boundKnownList(signIn.value.amr) : undefined
  }
  /** Seconds since the latest authentication. */
  get age(): number | undefined {
    const { signIn, environment } = this.#facts
    if (!signIn.known || !signIn.value.at.known) return undefined
    const age = environment.at - signIn.value.at.value
    return age >= -toleratedSkewMilliseconds ? Math.max(age, 0) / 1000 : undefined
  }
}

export class DeviceView {
  readonly #facts: Facts
  constructor(facts: Facts) {
    this.#facts = facts
  }
  get id(): string | undefined {
    return this.#facts.device.known ? boundText(this.#facts.device.value.id) : undefined
  }
  get identified_by(): string | undefined {
    return this.#facts.device.known ? this.#facts.device.value.identifiedBy : undefined
  }
  get known(): boolean | undefined {
    const { device } = this.#facts
    return device.known ? device.value.isKnown : device.why === 'no_device' ? false : undefined
  }
  get serial(): string | undefined {
    const { device } = this.#facts
    return device.known && device.value.isKnown ? boundText(device.value.serial) : undefined
  }
  get tags(): readonly string[] | undefined {
    const { device } = this.#facts
    return device.known && device.value.isKnown ? boundList(device.value.tags) : undefined
  }
  get managed(): boolean | undefined {
    return this.#findBoolean('managed')
  }
  get disk_encrypted(): boolean | undefined {
    return this.#findBoolean('disk_encrypted')
  }
  get screen_lock(): boolean | undefined {
    return this.#findBoolean('screen_lock')
  }
  get firewall(): boolean | undefined {
    return this.#findBoolean('firewall')
  }
  get os(): string | undefined {
    return this.#findText('os')
  }
  get os_version(): string | undefined {
    return this.#findText('os_version')
  }
  get attributes(): ReadonlyMap<string, unknown> {
    const { device } = this.#facts
    const attributes = new Map<string, unknown>()
    for (const name of device.known ? Object.keys(device.value.attributes) : []) {
      const attribute = readAttribute(this.#facts, name, reportedWithinSeconds)
      if (typeof attribute !== 'string') attributes.set(name, convertWhole(attribute.value))
    }
    return attributes
  }
  #findBoolean(name: string): boolean | undefined {
    const value = this.#findValue(name)
    return typeof value === 'boolean' ? value : undefined
  }
  #findText(name: string): string | undefined {
    const value = this.#findValue(name)
    return typeof value === 'string' ? boundText(value) : undefined
  }
  #findValue(name: string): DeviceAttribute['value'] | undefined {
    const attribute = readAttribute(this.#facts, name, reportedWithinSeconds)
    return typeof attribute === 'string' ? undefined : attribute.value
  }
}

export class EnvironmentView {
  readonly #environment: EnvironmentFacts
  constructor(environment: EnvironmentFacts) {
    this.#environment = environment
  }
  get address(): string | undefined {
    return this.#environment.address === '' ? undefined : boundText(this.#environment.address)
  }
  /** Seconds since 1970, as in a token. */
  get at(): number | undefined {
    return Number.isFinite(this.#environment.at) ? this.#environment.at / 1000 : undefined
  }
  /** Empty for an address that is certainly in no country. */
  get country(): string | undefined {
    const { country } = this.#environment
    return country.known ? (country.value ?? '') : undefined
  }
  /** 0, which no network has, for an address that is certainly in none (RFC 7607). */
  get asn(): bigint | undefined {
    const { asn } = this.#environment
    return asn.known ? BigInt(asn.value ?? 0) : undefined
  }
  get scheme(): string {
    return this.#environment.scheme
  }
  get tls_version(): string | undefined {
    return boundKnownText(this.#environment.tlsVersion)
  }
  get browser(): string | undefined {
    return boundKnownText(this.#environment.client.browser)
  }
  get browser_version(): string | undefined {
    return boundKnownText(this.#environment.client.browserVersion)
  }
  get client_os(): string | undefined {
    return boundKnownText(this.#environment.client.os)
  }
}

/** Without the query, which is not a fact. */
export class RequestView {
  readonly #request: RequestFacts
  constructor(request: RequestFacts) {
    this.#request = request
  }
  get method(): string | undefined {
    return boundText(this.#request.method)
  }
  get method_class(): string {
    return this.#request.methodClass
  }
  get path(): string | undefined {
    return boundText(this.#request.path)
  }
}
