/**
 * The key file: made once, rotated by command, watched while running. What is in it is described in `keys.ts`.
 *
 * JSON, 0600, replaced whole and atomically, so that a reader sees an old file or a new one and nothing between. It trusts the file
 * system for secrecy, and refuses a file that others may read. A file that cannot be read or does not hold together never
 * replaces a ring that is in use.
 *
 * Sealing: `next` is in every instance's file before it seals anything, so instances that reload at different moments open each
 * other's records; what has sealed stays until no record of its time can live. Assertions: `next` is published before it signs, `previous` after.
 * Audit: another key signs from the next segment of the trail on; the public half of one that signed stays for ever, as what it signed does.
 */

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  watch,
  writeSync,
} from 'node:fs'
import { basename, dirname } from 'node:path'
import { PosternError } from './errors.ts'
import type { CurrentKeys, KeyRing } from './keys.ts'
import {
  createAssertionKey,
  createAuditKey,
  createSealingKey,
  type KeysFile,
  parseKeysFile,
  retireAuditKey,
  ringOf,
  usableSealingKeys,
} from './keys-file-format.ts'
import type { Logger } from './log.ts'

/** The ring in force. */
export interface WatchedKeys {
  readonly current: CurrentKeys
  /** When the keys that seal and sign now were made, epoch milliseconds. */
  createdAt(): { readonly sealing: number; readonly assertion: number; readonly audit: number }
  close(): void
}

/** How a file is followed. */
export interface WatchOptions {
  readonly log: Logger
  readonly now: () => number
  /** Hears the `kid` that signs from now on. */
  readonly onRotated?: (kid: string) => void
  /** Hears that another key seals from now on. */
  readonly onSealingRotated?: () => void
  /** Hears the `kid` that signs the audit trail from now on. */
  readonly onAuditRotated?: (kid: string) => void
  /** File systems without notifications (and mounted secrets) are looked at this often. */
  readonly pollSeconds?: number
}

export type KeyFamily = 'sealing' | 'assertion' | 'audit'

/** What to rotate, and when it is. */
export interface RotateOptions {
  readonly now: number
  readonly families: readonly KeyFamily[]
  /** How long a record that the outgoing key sealed may live. */
  readonly keepSealingSeconds: number
  /** Rotates although verifiers may not have seen the next key yet: for a key that leaked. */
  readonly isUrgent?: boolean
}

/** Verifiers cache `jwks.json`, instances re-read their file: this is longer than either. */
const publishedBeforeSigningMs = 15 * 60_000

/** The ring in `file`. Throws `keys_missing` or, for a file that must not be used, `configuration_invalid`. */
export function loadKeys(file: string, now: number): KeyRing {
  return ringOf(parseKeysFile(file, readKeysFile(file)), now, file)
}

/** Creates `file` with new keys, readable by its owner alone. `false` if there is one already; that one is never touched. */
export function createKeysFile(file: string, now: number): boolean {
  const createdAt = new Date(now).toISOString()
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const content: KeysFile = {
    version: 1,
    sealing: { current: createSealingKey(createdAt), next: createSealingKey(createdAt), retired: [] },
    assertion: { current: createAssertionKey(createdAt), next: createAssertionKey(createdAt), previous: null },
    audit: { current: createAuditKey(createdAt), retired: [] },
  }
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  writeDraft(draft, () => content)
  try {
    // A link fails if the name is taken, and appears with its whole content: O_EXCL for a file that is never half there.
    linkSync(draft, file)
    syncFolderOf(file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    unlinkSync(draft)
  }
}

/** Puts the next keys in force and adds new ones to follow them. Returns the `kid` that signs assertions from now on. */
export function rotateKeys(file: string, options: RotateOptions): string {
  const createdAt = new Date(options.now).toISOString()
  const rotate = (before: KeysFile): KeysFile => ({
    version: 1,
    sealing: options.families.includes('sealing') ? rotateSealing(before.sealing, options, createdAt) : before.sealing,
    assertion: options.families.includes('assertion') ? rotateAssertion(before.assertion, options, createdAt) : before.assertion,
    audit: options.families.includes('audit') ? rotateAudit(before.audit, createdAt) : before.audit,
  })
  // Says what is wrong with a file that must not be used, before anything is made beside it.
  readKeysFile(file)
  const owner = statSync(file)
  // One name for every draft, and the keys are read behind it: of two rotations at once the second neither succeeds nor undoes the first.
  const draft = `${file}.new`
  let after: KeysFile
  try {
    after = writeDraft(draft, () => rotate(parseKeysFile(file, readKeysFile(file))), owner)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new PosternError(
      'configuration_invalid',
      `${draft} exists: another rotation is under way, or one was interrupted (then delete that file)`,
    )
  }
  renameSync(draft, file)
  // What is signed with the new keys from now on could not be verified if a power cut brought the old file back.
  syncFolderOf(file)
  return after.assertion.current.kid
}

function rotateSealing(before: KeysFile['sealing'], { now, keepSealingSeconds }: RotateOptions, createdAt: string): KeysFile['sealing'] {
  const outgoing = { ...before.current, retire_at: new Date(now + keepSealingSeconds * 1000).toISOString() }
  const stillNeeded = before.retired.filter((key) => Date.parse(key.retire_at) > now)
  return { current: before.next, next: createSealingKey(createdAt), retired: [outgoing, ...stillNeeded] }
}

function rotateAssertion(before: KeysFile['assertion'], { now, isUrgent }: RotateOptions, createdAt: string): KeysFile['assertion'] {
  const readyAt = Date.parse(before.next.created_at) + publishedBeforeSigningMs
  if (now < readyAt && isUrgent !== true) {
    throw new PosternError(
      'configuration_invalid',
      `the next assertion key was published at ${before.next.created_at}; wait until ${new Date(readyAt).toISOString()}, when verifiers have it`,
    )
  }
  return { current: before.next, next: createAssertionKey(createdAt), previous: before.current }
}

/** Nobody has to know the next key beforehand: who verifies takes the keys from the file. */
function rotateAudit({ current, retired }: KeysFile['audit'], createdAt: string): KeysFile['audit'] {
  return { current: createAuditKey(createdAt), retired: [retireAuditKey(current), ...retired] }
}

/** Loads `file` and follows its changes. Rejects like `loadKeys` at first; later a bad file is logged and the ring in use stays. */
export function watchKeys(file: string, options: WatchOptions): WatchedKeys {
  const { log, now } = options
  let text = readKeysFile(file)
  let content = parseKeysFile(file, text)
  let ring = ringOf(content, now(), file)
  let complaint = ''

  function reload(): void {
    try {
      const newText = readKeysFile(file)
      const isNew = newText !== text
      const next = isNew ? parseKeysFile(file, newText) : content
      const hasRetired = ring.sealing.all.size > usableSealingKeys(next, now()).length
      complaint = ''
      if (!isNew && !hasRetired) return
      const nextRing = ringOf(next, now(), file)
      const isRotated = nextRing.assertion.current.kid !== ring.assertion.current.kid
      const isSealingRotated = nextRing.sealing.current.id !== ring.sealing.current.id
      const isAuditRotated = nextRing.audit.current.kid !== ring.audit.current.kid
      text = newText
      content = next
      ring = nextRing
      if (!isNew) return
      log.info({ kid: ring.assertion.current.kid, sealing: ring.sealing.current.id }, 'key file was read again')
      if (isRotated) options.onRotated?.(ring.assertion.current.kid)
      if (isSealingRotated) options.onSealingRotated?.()
      if (isAuditRotated) options.onAuditRotated?.(ring.audit.current.kid)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (message !== complaint) log.error({ err: error }, 'key file cannot be used; the keys read before stay in force')
      complaint = message
    }
  }

  const poll = setInterval(reload, (options.pollSeconds ?? 5) * 1000)
  poll.unref()
  const watcher = watchFolder(file, reload)
  return {
    current: () => ring,
    createdAt: () => ({
      sealing: Date.parse(content.sealing.current.created_at),
      assertion: Date.parse(content.assertion.current.created_at),
      audit: Date.parse(content.audit.current.created_at),
    }),
    close() {
      clearInterval(poll)
      watcher?.close()
    },
  }
}

/** The folder is watched, not the file: a replaced file is a new one to the system. */
function watchFolder(file: string, onChange: () => void): { close(): void } | undefined {
  try {
    const watcher = watch(dirname(file), { persistent: false }, (_, name) => {
      if (name === null || name === basename(file)) onChange()
    })
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    // No notifications here; polling finds the change.
    return undefined
  }
}

function readKeysFile(file: string): string {
  try {
    const { mode } = statSync(file)
    // Group-readable is how orchestrators mount a secret for a user who is not root.
    if (process.platform !== 'win32' && (mode & 0o027) !== 0) {
      throw new PosternError('configuration_invalid', `${file} may be read or changed by others; chmod 600 it`)
    }
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof PosternError) throw error
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    const advice = isMissing
      ? 'does not exist; create it with `postern keys generate` and give every instance the same one'
      : 'cannot be read'
    throw new PosternError('keys_missing', `the key file ${file} ${advice}`, { cause: error })
  }
}

type Owner = Pick<Stats, 'uid' | 'gid' | 'mode'>

/** Writes a new file that is on the disk when this returns; fails if the name is taken, and then or else leaves nothing of it. */
function writeDraft(draft: string, make: () => KeysFile, owner?: Owner): KeysFile {
  const descriptor = openSync(draft, 'wx', 0o600)
  try {
    if (owner !== undefined) giveTo(descriptor, owner)
    const content = make()
    writeSync(descriptor, `${JSON.stringify(content, null, 2)}\n`)
    fsyncSync(descriptor)
    return content
  } catch (error) {
    unlinkSync(draft)
    throw error
  } finally {
    closeSync(descriptor)
  }
}

/** A name is only there after a power cut if its folder is on the disk. Some file systems know no fsync of folders. */
function syncFolderOf(file: string): void {
  let descriptor: number | undefined
  try {
    descriptor = openSync(dirname(file), 'r')
    fsyncSync(descriptor)
  } catch {
    // The keys are in force all the same.
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

/** A file that root rotated must stay readable for who runs Postern: it would go on with the old keys, and not start again. */
function giveTo(descriptor: number, { uid, gid, mode }: Owner): void {
  if (process.platform === 'win32') return
  const mine = fstatSync(descriptor)
  try {
    if (mine.uid !== uid || mine.gid !== gid) fchownSync(descriptor, uid, gid)
    fchmodSync(descriptor, mode & 0o640)
  } catch (cause) {
    throw new PosternError('configuration_invalid', 'the key file belongs to somebody else; rotate as its owner or as root', { cause })
  }
}
