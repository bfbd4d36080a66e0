/**
 * The audit events: one NDJSON line each in `data_dir/audit`. Never a token, cookie, code, query or body.
 *
 * Names are past tense and dotted. Every line has `at` (RFC 3339, milliseconds), `event` and `instance`; what a request caused also
 * has `request`. Anonymous challenges and anonymous 4xx are counted per address, app and minute, so that nobody can fill a disk from outside.
 */

import type { Decision, Reason } from '../policy/decision.ts'
import type { MethodClass } from '../policy/document.ts'
import type { LockFacts } from '../policy/facts.ts'

export interface AuditSubject {
  readonly kind: 'nobody' | 'person' | 'service'
  readonly issuer?: string
  readonly sub?: string
  readonly email?: string
}

export type AuditEvent =
  | {
      readonly event: 'access.decided'
      readonly request: string
      readonly subject: AuditSubject
      readonly session: string | undefined
      readonly app: string | undefined
      readonly host: string
      readonly method: string
      readonly path: string
      readonly query: string | undefined
      readonly effect: 'allow' | 'deny' | 'challenge'
      readonly reason: Reason
      readonly rule: string | undefined
      readonly policy: string
      /** `undefined`: it is left out of the trail (`audit.redact`). */
      readonly address: string | undefined
      readonly userAgent: string | undefined
      readonly claimsAt: number | undefined
      readonly claimsState: 'fresh' | 'stale' | 'unknown' | undefined
      /** The instant it was decided for; the line's own may be later. */
      readonly decidedAt?: number | undefined
      readonly methodClass?: MethodClass | undefined
      /** Hashes of `facts.recorded` lines, in this file or an earlier one. */
      readonly facts?: { readonly subject: string; readonly signIn: string; readonly device: string } | undefined
      /** Id of the device, where one was looked up and known: what a search by device finds without its facts. */
      readonly device?: string | undefined
      readonly tlsVersion?: string | undefined
      /** Country and network where a database could tell, and of the user agent what a rule of the app asked for: JSON. */
      readonly circumstances?: string | undefined
      /** W3C trace id: what the upstream and the spans of this request are found by. */
      readonly trace?: string | undefined
      /** How much of the path is left: `first_segment` of it, or nothing. */
      readonly pathRedacted?: 'first_segment' | 'none' | undefined
      /** What was locked, where a lock decided. */
      readonly lock?: LockFacts | undefined
      /** What would have been decided had nothing been in report mode. */
      readonly would?: Decision['would'] | undefined
      /** The deciding rule asks for an alert. */
      readonly alert?: true | undefined
    }
  /** What decisions refer to by its hash; `facts` is JSON. */
  | { readonly event: 'facts.recorded'; readonly kind: 'subject' | 'sign_in' | 'device'; readonly hash: string; readonly facts: string }
  | {
      readonly event: 'access.ended'
      readonly request: string
      readonly app: string
      readonly status: number
      readonly bytesIn: number
      readonly bytesOut: number
      readonly durationMs: number
      readonly outcome: 'completed' | 'client_gone' | 'upstream_failed' | 'cut'
      /** Of a refusal after the decision; of a cut, why it no longer stood. */
      readonly reason: Reason | undefined
      /** The rule by which an open exchange was cut, if it was a rule. */
      readonly rule?: string | undefined
      /** The policy version that the cut was decided under. */
      readonly policy?: string | undefined
    }
  | {
      readonly event: 'access.counted'
      readonly address: string
      readonly app: string | undefined
      readonly reason: Reason
      readonly count: number
      readonly since: number
    }
  | {
      readonly event: 'session.started' | 'session.continued' | 'session.refreshed'
      readonly request: string | undefined
      readonly session: string
      readonly subject: AuditSubject
      /** Of the request that caused it; no request causes a refresh. */
      readonly address: string | undefined
      readonly acr: string | undefined
      readonly amr: readonly string[]
    }
  | {
      readonly event: 'session.ended'
      readonly request: string | undefined
      readonly session: string
      readonly subject: AuditSubject
      /** Of the request that caused it; a provider's, for a back-channel logout. */
      readonly address?: string | undefined
      readonly cause: string
    }
  | {
      readonly event: 'subject.ended'
      readonly request: string | undefined
      readonly subject: AuditSubject
      readonly address?: string | undefined
      readonly sid: string | undefined
      readonly cause: string
    }
  /** A lock was set, changed or lifted. `until` is left out where it holds until it is lifted. */
  | {
      readonly event: 'lock.set' | 'lock.lifted'
      readonly actor: string
      readonly on: 'subject' | 'service' | 'device' | 'app'
      /** The `sub`, the service's or app's name, the device's id. */
      readonly target: string
      readonly label: string
      readonly until: number | undefined
      readonly reason: string | undefined
    }
  /** An administrator ended sessions, or their own person did (`person:<sub>`, in their list of them): one, several, all. Each of them has a `session.ended` line of its own. */
  | {
      readonly event: 'sessions.revoked'
      readonly actor: string
      readonly sessions: readonly string[]
      readonly target: string | undefined
      readonly reason: string | undefined
    }
  /** An administrator cuts one open connection; its `access.ended` line follows where it still was open. */
  | {
      readonly event: 'connection.cut'
      readonly actor: string
      /** Request of the `access.decided` line that it began with. */
      readonly request: string
      readonly app: string
      /** The `sub`, or the service's name; left out: nobody was signed in. */
      readonly target: string | undefined
      readonly reason: string | undefined
    }
  /** Written before the one-time address exists. */
  | {
      readonly event: 'break_glass.issued'
      readonly actor: string
      readonly issuer: string
      readonly sub: string
      readonly email: string
      readonly until: number
      readonly reason: string
    }
  | {
      readonly event: 'sign_in.failed'
      readonly request: string
      readonly reason: Reason
      readonly error: string | undefined
      readonly address: string
    }
  /** A form was kept while its person signs in; was sent on after it; or was thrown away, and why. */
  | {
      readonly event: 'post.kept' | 'post.resumed' | 'post.discarded'
      readonly request: string
      /** Of whoever sent the form. */
      readonly session: string
      readonly app: string
      readonly bytes: number
      readonly cause?: string | undefined
    }
  | {
      readonly event: 'policy.loaded' | 'policy.refused'
      readonly policy: string
      readonly problems: number
      /** The version that was in force before; left out at a start. */
      readonly from?: string | undefined
      /** Whose file it is: `file:<owner>`. */
      readonly author?: string | undefined
      /** What changed, in a line each, at most a hundred. */
      readonly difference?: readonly string[] | undefined
    }
  /** Written before the revision is in force: a policy was published to the store. `approvals` are the actors who approved exactly `hash`. */
  | {
      readonly event: 'policy.published'
      readonly actor: string
      readonly revision: number
      readonly policy: string
      readonly hash: string
      /** The version before; left out of the first. */
      readonly from: string | undefined
      readonly comment: string
      readonly difference: readonly string[]
      readonly approvals: readonly string[]
      readonly restores: number | undefined
    }
  /** Somebody would have published, and another revision had come in between. */
  | {
      readonly event: 'policy.publication_refused'
      readonly actor: string
      readonly hash: string
      readonly comment: string
      /** What it was made from, and what was published meanwhile; 0: none. */
      readonly predecessor: number
      readonly head: number
    }
  /** A draft was begun or its files changed, put before others, approved, or given up. */
  | {
      readonly event: 'policy.drafted' | 'policy.proposed' | 'policy.approved' | 'policy.discarded'
      readonly actor: string
      readonly draft: string
      /** Of its files: what an approval approves. */
      readonly hash: string
      readonly comment: string
    }
  /** Before it is done: a store that had lost revisions of the policy is given back what a machine remembers, or its loss is accepted. */
  | {
      readonly event: 'store.adopted'
      readonly actor: string
      readonly kept: 'mirror' | 'store'
      /** The newest revision that the machine remembers; left out where that could not be read. */
      readonly revision: number | undefined
      readonly policy: string | undefined
      readonly hash: string | undefined
    }
  | { readonly event: 'keys.rotated'; readonly kid: string }
  | {
      readonly event: 'token.created' | 'token.rotated' | 'token.revoked'
      readonly actor: string
      readonly token: string
      readonly name: string
      readonly scopes: readonly string[] | undefined
      readonly expiresAt: number | undefined
      /** Of a rotation: until when the secret before is good as well. */
      readonly until?: number | undefined
    }
  /** Somebody asked for access to an app on their portal, or took the request back. */
  | {
      readonly event: 'access.requested' | 'access.request_withdrawn'
      /** Of the form that was sent. */
      readonly request: string
      readonly subject: AuditSubject
      readonly app: string
      readonly accessRequest: string
      /** In the person's words. */
      readonly reason: string | undefined
    }
  /** An administrator noted such a request as seen, or answered it; `reason` is what the person is told. Nothing was granted by it. */
  | {
      readonly event: 'access.request_answered'
      readonly actor: string
      readonly accessRequest: string
      readonly app: string
      /** The `sub` of whoever asked. */
      readonly target: string
      readonly state: 'seen' | 'answered'
      readonly reason: string | undefined
    }
  /** Written before it holds: a role of the console for whoever signs in with this address. And that it was taken back. */
  | {
      readonly event: 'console.invited' | 'console.uninvited'
      readonly actor: string
      readonly email: string
      readonly role: string
      readonly until?: number | undefined
    }
  | {
      readonly event:
        | 'device.registered'
        | 'device.imported'
        | 'device.blocked'
        | 'device.unblocked'
        /** `reason` says which tags it has now. */
        | 'device.tagged'
        | 'device.removed'
        | 'device.reported'
      readonly actor: string
      readonly device: string
      /** Of a report that came over the network; a command has neither. */
      readonly request?: string | undefined
      readonly address?: string | undefined
      readonly reason: string | undefined
    }
  | { readonly event: 'instance.started' | 'instance.stopped'; readonly version: string }
  /** Written first once the trail can be written again: how many lines are missing before this one. */
  | { readonly event: 'audit.resumed'; readonly lost: number; readonly since: number }
  /** The first line of each segment: what a verifier needs to read the rest. */
  | {
      readonly event: 'audit.segment_started'
      /** Name of the chain: the folder's. */
      readonly chain: string
      readonly segment: number
      /** Of the form of lines. */
      readonly form: number
      readonly key: string
      /** Raw Ed25519 public key, base64url. Proves nothing by itself: the verifier compares it with the keys that it was given. */
      readonly publicKey: string
    }
  /** Signed: everything before it in this chain is as it was written. See `chain.ts`. */
  | { readonly event: 'audit.checkpoint'; readonly chain: string; readonly key: string; readonly signature: string }
  /** What a start found that a crash, or somebody, left behind. */
  | {
      readonly event: 'audit.repaired'
      /** Bytes of a torn last line that were taken off. */
      readonly tornBytes: number
      /** The last line that was found; 0: none. */
      readonly foundSeq: number
      /** The last line that the store remembers; beyond `foundSeq`, what is between is gone. */
      readonly anchoredSeq: number | undefined
    }
  /** Old segments of a chain were removed on purpose; the chain now begins after `throughSeq`, whose line had the hash `head`. */
  | {
      readonly event: 'audit.pruned'
      readonly actor: string
      readonly chain: string
      readonly segments: number
      readonly throughSeq: number
      readonly head: string
      readonly cause: 'age' | 'size' | 'command'
    }
  /** An administrator looked at what is recorded about others. */
  | {
      readonly event: 'data.read'
      readonly actor: string
      /** What was looked at, such as `audit`, `sessions`, `devices`, `explanation`, `access_review`. */
      readonly what: string
      /** About whom or what, as it was asked; left out: everybody. */
      readonly target: string | undefined
      /** How many entries were handed out. */
      readonly entries: number | undefined
    }

/**
 * What an administrator did, at a command line, over the API or in the console, and what ended for it. `actor` is `os:<user>@<host>` for a
 * command; what reports on a device or uses the API is `device:<id>` or `token:<id>`.
 */
export type AdministrativeEvent = Extract<AuditEvent, { readonly actor: string } | { readonly event: 'session.ended' | 'subject.ended' }>

/** Where events go. */
export interface AuditTrail {
  /** Queues one line. Returns at once; a trail that cannot be written shows in `isWritable`. */
  record(event: AuditEvent): void
  /**
   * Resolves once every line recorded until now is on the disk (`true`), or cannot be brought there in time (`false`). One write and one
   * fsync serve everybody who waits. Never rejects.
   */
  settle(): Promise<boolean>
  /** False while lines about requests are being lost (disk full, folder gone). The data plane denies on apps that demand the trail. */
  isWritable(): boolean
  /** Number of the segment that the next line goes to. What lines refer to is written once a segment, so that each can be read alone. */
  segment(): number
  /** Writes what is queued; for shutdown. */
  close(): Promise<void>
}
