/**
 * Finds the line of one decision, and the lines of the facts behind it, in the folders of a trail.
 *
 * Reads the files as they are, newest first, line by line, and holds no more than one line at a time. A trail that is being written may end
 * in half a line; what is not whole is passed over, as is whatever is no JSON.
 */

import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** A line as it was parsed; its form is `docs/audit.md`'s. */
export type TrailLine = Readonly<Record<string, unknown>>

export interface FoundDecision {
  readonly decided: TrailLine
  /** JSON text of the facts by kind; `undefined` for one whose line is not there. */
  readonly facts: { readonly subject: string | undefined; readonly signIn: string | undefined; readonly device: string | undefined }
}

/** Searches `folder` (`data_dir/audit`), with all that write into it. `undefined` if no line speaks of this request. */
export async function findDecision(folder: string, requestId: string): Promise<FoundDecision | undefined> {
  for (const file of await listFiles(folder)) {
    const decided = await findLine(file, `"request":${JSON.stringify(requestId)}`, (line) => {
      return line['event'] === 'access.decided' && line['request'] === requestId
    })
    if (decided === undefined) continue
    const hashes = (decided['facts'] ?? {}) as Readonly<Record<string, unknown>>
    return {
      decided,
      facts: {
        subject: await findFacts(file, hashes['subject']),
        signIn: await findFacts(file, hashes['sign_in']),
        device: await findFacts(file, hashes['device']),
      },
    }
  }
  return undefined
}

/** Facts are written by the process that refers to them, in the file of the decision or an earlier one. */
async function findFacts(decidedIn: string, hash: unknown): Promise<string | undefined> {
  if (typeof hash !== 'string') return undefined
  const folder = join(decidedIn, '..')
  const files = (await listNames(folder)).map((name) => join(folder, name)).filter((file) => file <= decidedIn)
  for (const file of files.reverse()) {
    const line = await findLine(file, `"hash":${JSON.stringify(hash)}`, (one) => one['event'] === 'facts.recorded' && one['hash'] === hash)
    if (typeof line?.['facts'] === 'string') return line['facts']
  }
  return undefined
}

async function findLine(file: string, needle: string, isWanted: (line: TrailLine) => boolean): Promise<TrailLine | undefined> {
  const input = createReadStream(file, 'utf8')
  try {
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      const line = text.includes(needle) ? parseLine(text) : undefined
      if (line !== undefined && isWanted(line)) return line
    }
    return undefined
  } finally {
    input.destroy()
  }
}

function parseLine(text: string): TrailLine | undefined {
  try {
    const line: unknown = JSON.parse(text)
    return typeof line === 'object' && line !== null && !Array.isArray(line) ? (line as TrailLine) : undefined
  } catch {
    // Half a line: the file is being written, or its process was killed.
    return undefined
  }
}

/** Every file of every process, the one written last first. */
async function listFiles(folder: string): Promise<readonly string[]> {
  const folders = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  const files: { readonly file: string; readonly at: number }[] = []
  for (const { name } of folders) {
    for (const fileName of await listNames(join(folder, name))) {
      const file = join(folder, name, fileName)
      files.push({ file, at: (await stat(file)).mtimeMs })
    }
  }
  return files.sort((a, b) => b.at - a.at).map(({ file }) => file)
}

async function listNames(folder: string): Promise<readonly string[]> {
  return (await readdir(folder)).filter((name) => /^\d{8}\.ndjson$/.test(name)).sort()
}
