/**
 * The names of everything Postern keeps in Redis, in one place.
 *
 * All keys share one hash tag, so that a cluster keeps them in one slot and a script may touch several. `NAME` is what the
 * port calls a name (`kind:hash`); no part of a key comes from a request without having been hashed first, and no command here
 * takes a pattern. `EXPIRY` is PEXPIREAT as garbage collection only: what counts is the instant in the value, compared
 * with `TIME` inside the script. Durable records have no expiry at all, under a prefix of their own.
 *
 * | Key | Type and shape | Gone | Written by |
 * | --- | --- | --- | --- |
 * | `{postern}:record:session:H(id)` | string `version expires_at SEALED` | lifetime + 10 min | begin, continue, use, refresh |
 * | `{postern}:record:access:H(secret)` | same form: session id behind an access-host cookie | as its session | begin |
 * | `{postern}:record:app:H(secret)` | same form: session id and origin behind an app cookie | as its session | hand-off |
 * | `{postern}:record:hand_off:H(code)` | same form: session id, origin, attempt, return address | 30 s | access host |
 * | `{postern}:record:once:H(purpose, id)` | same form, empty: an id was used | seconds to minutes | callback, logout |
 * | `{postern}:record:person:H(iss, sub)` | same form: a person seen, with claims as last heard | 400 days | begin, continue, refresh |
 * | `{postern}:record:kept_post:H(id)` | same form: a form, its address, type and sender | 5 min | a challenged form post |
 * | `{postern}:record:break_glass:H(code)` | same form: whom an emergency sign-in is for, and for how long | 10 min | administration |
 * | `{postern}:record:instance:H(start)` | same form: an instance that runs, with its name and version | 15 s, renewed | each instance |
 * | `{postern}:record:errand:H(id)` | same form: what one instance asks of all | seconds, or an hour | console, API |
 * | `{postern}:record:errand_part:H(id, start)` | same form: what one of them found, or how far it is | as its errand | each instance |
 * | `{postern}:record:ui:H(id)` | same form: form state of the control plane | its cookie's time | control plane |
 * | `{postern}:index:subject:H(iss, sub)` | sorted set, member `H(session id)`, score its expiry | longest member | begin |
 * | `{postern}:index:provider_sid:H(iss, sid)` | same form | longest member | begin, continue |
 * | `{postern}:index:app_sessions:H(session id)` | sorted set, member `H('app_origin', origin)`, score its expiry | longest member | hand-off |
 * | `{postern}:index:email:H(e-mail)` | sorted set, member `H(iss, sub)`, score its expiry | longest member | begin, continue, refresh |
 * | `{postern}:index:people:all` | same form | longest member | begin, continue, refresh |
 * | `{postern}:index:instances:all` | sorted set, member the name of its record, score its expiry | longest member | each instance |
 * | `{postern}:index:errands:all` | same form | longest member | console, API |
 * | `{postern}:index:kept_posts:H(session id)` | sorted set, member `H(id):bytes`, score its expiry | longest member | a challenged form post |
 * | `{postern}:index:all_kept_posts:all` | same form, of everybody | longest member | a challenged form post |
 * | `{postern}:durable:device:H('device', id)` | string `version SEALED`: a device of the inventory | when removed | administration |
 * | `{postern}:durable:device_alias:H('device', kind, alias)` | same form: id of the device with that fingerprint, serial, … | when removed | administration |
 * | `{postern}:durable:lock:H('lock', target)` | same form: a lock, its target, end, reason | when lifted, or swept a day after its end | administration |
 * | `{postern}:durable:console_invite:H('console_invite', email)` | same form: roles of the console for this address, each with its end | when taken back | administration |
 * | `{postern}:durable:access_request:H('access_request', issuer + '\n' + sub)` | same form: what this person asked for, with what was answered | 90 days after it was asked | administration |
 * | `{postern}:durable:token:H('token', id)` | same form: a service token, its secret as SHA-256 only | when removed | administration |
 * | `{postern}:durable:policy_head:H('policy_head', 'head')` | same form: number, hash and record of the revision in force | never | administration |
 * | `{postern}:durable:policy_revision:H('policy_revision', key)`, `…:policy_revision_alias:H(… number)` | same form: facts of a published revision; which record a number has | never; one that was not published, by a sweep | administration |
 * | `{postern}:durable:policy_draft:H('policy_draft', id)` | same form: facts of a draft, its approvals | 30 days after its end, 90 after its last change | administration |
 * | `{postern}:durable:policy_files:H('policy_files', key, part)` | same form: 128 KiB of the compressed files of a revision or draft | with it | administration |
 * | `{postern}:durable:policy_writing:H('policy_writing', key)` | same form: whose files are being written | once they are named, or swept | administration |
 * | `{postern}:durable_names` | sorted set, member the name of each durable record, score 0: what a listing walks | with its last member | each of these |
 * | `{postern}:lock:refresh:H(session id)` | string `1 expires_at token` | 10 s, renewed | claims refresh |
 * | `{postern}:ends` | hash, field `kind:H(id)`, value `at keep_until cause` | longest member | every end |
 * | `{postern}:ends:until` | sorted set, member `kind:H(id)`, score `keep_until` | longest member | every end |
 * | `{postern}:events` | stream, fields `kind` and `detail`: what instances tell each other; about the newest 10,000 | a day after the last | ends, locks, sessions, devices, errands, revisions |
 * | `{postern}:window` | sorted set, member `at:H(batch)`, score 0: what a reading walks | trimmed to `audit.window` events; 30 days after the last | the window's follower |
 * | `{postern}:window:batches` | hash, field as that member, value `entries SEALED`: lines of the audit trail | as its member | the window's follower |
 * | `{postern}:window:count` | string, number of entries in all batches | as the last member | the window's follower |
 * | `{postern}:probe` | string, empty | 10 s | readiness |
 *
 * `H` is SHA-256 in base64url. `SEALED` is AES-256-GCM as in `session/seal.ts`.
 */

/** The default prefix; tests may use another, as long as it keeps one hash tag. */
export const defaultKeyPrefix = '{postern}:'

/** Turns the port’s names into keys. */
export interface Keyspace {
  record(name: string): string
  durable(name: string): string
  readonly durableNames: string
  index(name: string): string
  lock(name: string): string
  readonly ends: string
  readonly endsUntil: string
  readonly events: string
  readonly windowPositions: string
  readonly windowBatches: string
  readonly windowCount: string
  readonly probe: string
}

/** Key names under one prefix. */
export function createKeyspace(prefix: string): Keyspace {
  return {
    record: (name) => `${prefix}record:${name}`,
    durable: (name) => `${prefix}durable:${name}`,
    durableNames: `${prefix}durable_names`,
    index: (name) => `${prefix}index:${name}`,
    lock: (name) => `${prefix}lock:${name}`,
    ends: `${prefix}ends`,
    endsUntil: `${prefix}ends:until`,
    events: `${prefix}events`,
    windowPositions: `${prefix}window`,
    windowBatches: `${prefix}window:batches`,
    windowCount: `${prefix}window:count`,
    probe: `${prefix}probe`,
  }
}
