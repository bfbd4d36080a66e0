/**
 * The operator's databases of places as files: read at start, read again when they change, and never worse than before.
 *
 * Vendors' updaters replace a file of many megabytes while it is in use. A change counts once the file has been the same for two looks in a
 * row, so that a half-written one is not even tried; one that cannot be used is complained about once, and the database before stays. A
 * file that is not there at start leaves places unknown, and is taken up when it appears.
 */

import { stat } from 'node:fs/promises'
import type { Logger } from '../log.ts'
import type { Places } from './environment-facts.ts'
import { loadPlaceDatabase, type PlaceDatabase, type PlaceFiles } from './place-database.ts'

export interface WatchedPlaces extends Places {
  close(): void
}

export interface WatchPlacesOptions {
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  /** Milliseconds between two looks at the files. */
  readonly lookEveryMs: number
}

/** Loads the configured databases; never rejects, because an instance without them still decides: what needs them is unknown. */
export async function watchPlaces({ countryFile, asnFile }: PlaceFiles, options: WatchPlacesOptions): Promise<WatchedPlaces> {
  const [country, asn] = await Promise.all([watchFile(countryFile, options), watchFile(asnFile, options)])
  return {
    country: country.current,
    asn: asn.current,
    close: () => {
      country.close()
      asn.close()
    },
  }
}

interface WatchedFile {
  readonly current: () => PlaceDatabase | undefined
  readonly close: () => void
}

async function watchFile(file: string | undefined, { log, lookEveryMs }: WatchPlacesOptions): Promise<WatchedFile> {
  if (file === undefined) return { current: () => undefined, close: () => undefined }
  let database: PlaceDatabase | undefined
  /** What was last tried, whatever came of it. */
  let tried = ''
  let candidate = ''
  let isLooking = false

  const take = async (state: string): Promise<void> => {
    tried = state
    try {
      database = await loadPlaceDatabase(file)
      log.info({ file, type: database.type, builtAt: new Date(database.builtAt).toISOString() }, 'a database of places was read')
    } catch (error) {
      if (state === gone) log.warn({ file }, 'a database of places is not there; what it would say is unknown')
      else if (database === undefined) log.error({ err: error, file }, 'a database of places cannot be used; what it would say is unknown')
      else log.error({ err: error, file }, 'a changed database of places cannot be used; the one before stays in use')
    }
  }

  const look = async (): Promise<void> => {
    if (isLooking) return
    isLooking = true
    try {
      const state = await stateOf(file)
      const isSettled = state === candidate
      candidate = state
      // A file that is gone is being replaced, or was removed by mistake: what was read of it is still true.
      if (state !== tried && isSettled && !(state === gone && database !== undefined)) await take(state)
    } finally {
      isLooking = false
    }
  }

  candidate = await stateOf(file)
  await take(candidate)
  const timer = setInterval(() => {
    look().catch((cause: unknown) => log.error({ err: cause, file }, 'a database of places could not be looked at'))
  }, lookEveryMs)
  timer.unref()
  return { current: () => database, close: () => clearInterval(timer) }
}

const gone = 'gone'

/** Follows symbolic links, so that a mounted file that is swapped as a whole counts as a change. */
async function stateOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(file)
    return `${ino}:${size}:${mtimeMs}`
  } catch {
    return gone
  }
}
