/**
 * What needs somebody's attention now, the most urgent first: a pure function of what was found.
 *
 * Each item says in a sentence what is the matter and leads to where it is mended, where that is a page of the console. Three degrees: something
 * does not work, something waits for somebody, something will be a matter soon.
 */

import { reasons } from '../policy/decision.ts'
import type { AppActivity, ReportedRule, StuckPerson } from './activity.ts'
import type { InstanceHealth, OwnHealth } from './instance-health.ts'
import { refOf } from './person-ref.ts'

export type Urgency = 'now' | 'waiting' | 'soon'

export interface Attention {
  readonly urgency: Urgency
  readonly kind:
    | 'not_ready'
    | 'instance_silent'
    | 'policy_differs'
    | 'upstream_failing'
    | 'draft_waiting'
    | 'person_stuck'
    | 'warning'
    | 'devices_silent'
    | 'report_only'
  readonly title: string
  readonly detail: string
  /** A path of the console. */
  readonly href: string | undefined
}

export interface AttentionFacts {
  readonly now: number
  /** Of this instance, which asked nobody. */
  readonly own: OwnHealth
  readonly instances: readonly InstanceHealth[]
  readonly drafts: readonly { readonly id: string; readonly comment: string; readonly by: string }[]
  readonly apps: ReadonlyMap<string, AppActivity>
  readonly stuck: readonly StuckPerson[]
  readonly reported: readonly ReportedRule[]
  readonly silentDevices: number
}

/** Failures that are older were mended, or nobody has asked since. */
const failingForMs = 3_600_000
const failingAfter = 3
/** Of one kind; the panel below has them all. */
const mostOfKind = 5

const checkWords: Readonly<Record<string, { readonly title: string; readonly href: string | undefined }>> = {
  store: { title: 'The session store does not answer', href: undefined },
  provider: { title: 'The OpenID Provider cannot be reached', href: undefined },
  policy: { title: 'The policy is not in force', href: '/console/policy' },
  audit: { title: 'The audit trail cannot be written', href: '/console/trail/verify' },
  serving: { title: 'An instance is stopping', href: undefined },
}

/** Everything, in order. */
export function findAttention(facts: AttentionFacts): readonly Attention[] {
  const found = [
    ...ofHealth(facts),
    ...ofPolicies(facts),
    ...ofUpstreams(facts),
    ...ofDrafts(facts),
    ...ofPeople(facts),
    ...ofDevices(facts),
    ...ofReports(facts),
  ]
  const order: readonly Urgency[] = ['now', 'waiting', 'soon']
  return order.flatMap((urgency) => found.filter((item) => item.urgency === urgency))
}

function ofHealth({ instances, own }: AttentionFacts): readonly Attention[] {
  const all = instances.length === 0 ? [{ name: undefined, health: own }] : instances
  const isOne = all.length === 1
  const where = (names: readonly (string | undefined)[]) => (isOne ? '' : ` (${names.join(', ')})`)
  const unready = new Map<string, { readonly detail: string | undefined; readonly names: (string | undefined)[] }>()
  const warnings = new Map<string, { readonly about: string; readonly text: string; readonly names: (string | undefined)[] }>()
  for (const { health, name } of all) {
    for (const check of health?.checks ?? []) {
      if (check.isReady) continue
      const known = unready.get(check.name) ?? { detail: check.detail, names: [] }
      unready.set(check.name, known)
      known.names.push(name)
    }
    for (const [about, text] of Object.entries(health?.warnings ?? {})) {
      const known = warnings.get(`${about}\n${text}`) ?? { about, text, names: [] }
      warnings.set(`${about}\n${text}`, known)
      known.names.push(name)
    }
  }
  const silent = instances.filter(({ health }) => health === undefined).map(({ name }) => name)
  return [
    ...[...unready].map(([name, { detail, names }]): Attention => {
      const words = checkWords[name] ?? { title: `Not ready: ${name}`, href: undefined }
      return {
        urgency: 'now',
        kind: 'not_ready',
        title: words.title,
        detail: `${sentence(detail ?? 'not ready')}${where(names)}`,
        href: words.href,
      }
    }),
    ...silent.map(
      (name): Attention => ({
        urgency: 'now',
        kind: 'instance_silent',
        title: `Instance ${name} does not answer`,
        detail: 'It was heard of in the last 15 seconds. If it was stopped, it leaves the list by itself.',
        href: undefined,
      }),
    ),
    ...[...warnings.values()].map(
      ({ about, names, text }): Attention => ({
        urgency: 'soon',
        kind: 'warning',
        title: sentence(about).replace(/\.$/, ''),
        detail: `${sentence(text)}${where(names)}`,
        href: about === 'policy' ? '/console/policy' : undefined,
      }),
    ),
  ]
}

function ofPolicies({ instances }: AttentionFacts): readonly Attention[] {
  const versions = new Map<string, string[]>()
  for (const { name, policyVersion } of instances) versions.set(policyVersion, [...(versions.get(policyVersion) ?? []), name])
  if (versions.size < 2) return []
  const detail = [...versions].map(([version, names]) => `${version}: ${names.join(', ')}`).join(' · ')
  return [{ urgency: 'now', kind: 'policy_differs', title: 'Instances have different policies in force', detail, href: '/console/policy' }]
}

/** Whether the upstream of an app is taken for one that fails: several failures, the last of them within the hour. */
export function isUpstreamFailing({ lastUpstreamFailureAt: at, upstreamFailures }: AppActivity, now: number): boolean {
  return upstreamFailures >= failingAfter && at !== undefined && now - at < failingForMs
}

function ofUpstreams({ apps, now }: AttentionFacts): readonly Attention[] {
  return [...apps.values()]
    .filter((app) => isUpstreamFailing(app, now))
    .sort((a, b) => b.upstreamFailures - a.upstreamFailures)
    .slice(0, mostOfKind)
    .map(({ allowed, app, upstreamFailures }) => ({
      urgency: 'now',
      kind: 'upstream_failing',
      title: `The upstream of ${app} fails`,
      detail: `${upstreamFailures} of ${Math.max(allowed, upstreamFailures)} requests that were let in got an error, the last within the hour.`,
      href: `/console/apps/${encodeURIComponent(app)}`,
    }))
}

function ofDrafts({ drafts }: AttentionFacts): readonly Attention[] {
  return drafts.slice(0, mostOfKind).map(({ by, comment, id }) => ({
    urgency: 'waiting',
    kind: 'draft_waiting',
    title: 'A change of the policy waits for approval',
    detail: `${comment === '' ? 'Without a comment' : comment}, by ${by}`,
    href: `/console/policy/drafts/${encodeURIComponent(id)}`,
  }))
}

function ofPeople({ stuck }: AttentionFacts): readonly Attention[] {
  return stuck.slice(0, mostOfKind).map(({ app, count, email, issuer, reason, sub }) => ({
    urgency: 'waiting',
    kind: 'person_stuck',
    title: `${email ?? sub} cannot get into ${app}`,
    detail: `Refused ${count} times and not let in since. ${reasons[reason]}`,
    href: `/console/people/${refOf({ issuer, sub })}`,
  }))
}

function ofDevices({ silentDevices }: AttentionFacts): readonly Attention[] {
  if (silentDevices === 0) return []
  const title = silentDevices === 1 ? '1 device has not reported for too long' : `${silentDevices} devices have not reported for too long`
  return [
    {
      urgency: 'soon',
      kind: 'devices_silent',
      title,
      detail: 'No rule accepts their last report any more.',
      href: '/console/devices?stale=true',
    },
  ]
}

function ofReports({ reported }: AttentionFacts): readonly Attention[] {
  const people = reported.filter(({ wouldRefuse }) => wouldRefuse > 0)
  if (people.length === 0) return []
  const count = people.reduce((sum, { wouldRefuse }) => sum + wouldRefuse, 0)
  const what = people.length === 1 ? '1 rule in report mode would have refused' : `${people.length} rules in report mode would have refused`
  return [
    {
      urgency: 'soon',
      kind: 'report_only',
      title: `${what} ${count} requests`,
      detail: 'They were let in, since the rules only report so far.',
      href: '/console#reported',
    },
  ]
}

/** As somebody else's words begin a line of ours. */
function sentence(text: string): string {
  const trimmed = text.trim()
  const begun = `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}`
  return /[.!?]$/.test(begun) ? begun : `${begun}.`
}
