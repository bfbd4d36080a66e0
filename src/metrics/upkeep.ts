/**
 * Numbers of what somebody has to look after: the policy in force and whether the files are what is in force, certificates and revocation
 * lists that run out, keys that grow old. Instants, not ages: `time() - …` is the age, and is right between two scrapes as well.
 */

import type { MetricsRegistry } from './registry.ts'

/** Something that is good until an instant. */
export interface Expiry {
  /** Path of the file that it comes from; of several in one file, what runs out first. */
  readonly file: string
  /** Epoch milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
}

/** What runs out. */
export interface Expiries {
  /** Certificates that the listener shows. */
  readonly listener: readonly Expiry[]
  /** Authorities of device certificates. */
  readonly clientAuthorities: readonly Expiry[]
  /** Revocation lists of device certificates. */
  readonly revocationLists: readonly Expiry[]
}

/** When the keys in use were made, epoch milliseconds. */
export interface KeyDates {
  readonly sealing: number
  readonly assertion: number
  readonly audit: number
}

export interface UpkeepSources {
  readonly arePolicyFilesInForce?: (() => boolean) | undefined
  readonly expiries?: (() => Expiries) | undefined
  readonly keyDates?: (() => KeyDates) | undefined
}

export interface UpkeepMetrics {
  /** A policy became current. `at` in epoch milliseconds. */
  setPolicy(version: string, at: number): void
  countPolicyLoadFailure(): void
}

/** Puts them into `registry`. */
export function addUpkeep(registry: MetricsRegistry, { arePolicyFilesInForce, expiries, keyDates }: UpkeepSources): UpkeepMetrics {
  let policy: { readonly version: string; readonly at: number } | undefined
  registry.sources({ name: 'postern_policy_info', help: 'Version of the policy in force.', labels: ['version'] }, () =>
    policy === undefined ? [] : [{ labels: { version: policy.version }, value: 1 }],
  )
  registry.source({ name: 'postern_policy_last_success_timestamp_seconds', help: 'When the policy in force was loaded.' }, () =>
    policy === undefined ? undefined : policy.at / 1000,
  )
  registry.source({ name: 'postern_policy_files_in_force', help: '1 while the policy files are what is in force.' }, () =>
    arePolicyFilesInForce === undefined ? undefined : Number(arePolicyFilesInForce()),
  )
  const failures = registry.counter({
    name: 'postern_policy_load_failures_total',
    help: 'Changed policies that were refused; the earlier one stayed in force.',
  })

  registry.sources(
    {
      name: 'postern_certificate_expiry_timestamp_seconds',
      help: 'When a certificate in use runs out; of several in one file, the first of them.',
      labels: ['use', 'file'],
    },
    () => {
      const { clientAuthorities = [], listener = [] } = expiries?.() ?? {}
      return [...listener.map(sampleOf('listener')), ...clientAuthorities.map(sampleOf('client_authority'))]
    },
  )
  registry.sources(
    {
      name: 'postern_revocation_list_expiry_timestamp_seconds',
      help: 'When a revocation list of device certificates runs out; from then on its devices are refused.',
      labels: ['file'],
    },
    () => (expiries?.().revocationLists ?? []).map(({ file, notAfter }) => ({ labels: { file }, value: notAfter / 1000 })),
  )
  registry.sources(
    { name: 'postern_key_created_timestamp_seconds', help: 'When the key in use of a family was made.', labels: ['family'] },
    () => {
      const dates = keyDates?.()
      return dates === undefined ? [] : Object.entries(dates).map(([family, at]) => ({ labels: { family }, value: at / 1000 }))
    },
  )

  return {
    setPolicy(version, at) {
      policy = { version, at }
    },
    countPolicyLoadFailure: () => failures.add({}),
  }
}

function sampleOf(use: 'listener' | 'client_authority') {
  return ({ file, notAfter }: Expiry) => ({ labels: { use, file }, value: notAfter / 1000 })
}
