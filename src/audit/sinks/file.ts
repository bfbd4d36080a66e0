/**
 * Lines of the trail at the end of a file, for shippers that read files.
 *
 * The file may be renamed or removed at any moment (logrotate): before each batch its name is looked up, and if it means another file now,
 * or none, the old one is synchronised and a new one begun; no signal is needed. With `copytruncate` lines between copy and truncation
 * are lost, as with every writer. A write that was cut short, by a full disk or a crash, leaves a piece that gets a line of its own.
 */

import { type FileHandle, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DeliveryError, type LineConsumer } from '../follow-batch.ts'

interface OpenFile {
  readonly handle: FileHandle
  readonly dev: bigint
  readonly ino: bigint
  /** What stands at its end is no whole line. */
  isTorn: boolean
}

/** The sink. `path` is made if it is not there, readable for nobody else; its folder is the operator's. */
export function createFileSink(path: string): LineConsumer {
  let current: OpenFile | undefined

  const isCurrent = async ({ dev, ino }: OpenFile) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined)
    return found?.dev === dev && found.ino === ino
  }

  const release = async () => {
    const file = current
    current = undefined
    if (file === undefined) return
    try {
      await file.handle.datasync()
    } finally {
      await file.handle.close()
    }
  }

  return {
    send: async ({ lines }) => {
      try {
        if (current !== undefined && !(await isCurrent(current))) await release()
        current ??= await openAtEnd(path)
        await append(
          current,
          lines.flatMap(({ bytes }) => [bytes, newline]),
        )
      } catch (error) {
        throw new DeliveryError(`the file cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`, { cause: error })
      }
    },
    settle: async () => {
      await current?.handle.datasync()
    },
    close: release,
  }
}

const newline = Buffer.from('\n')

async function openAtEnd(path: string): Promise<OpenFile> {
  // O_APPEND: what others write, or take away (copytruncate), never lets ours stand in the middle. Reading shows how the last one ended.
  const handle = await open(path, 'a+', 0o600)
  try {
    const { dev, ino, size } = await handle.stat({ bigint: true })
    const isRegular = (await handle.stat()).isFile()
    if (size === 0n && isRegular) await syncFolder(dirname(path))
    const last = isRegular && size > 0n ? (await handle.read(Buffer.alloc(1), 0, 1, Number(size - 1n))).buffer[0] : 10
    return { handle, dev, ino, isTorn: last !== 10 }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** A new name survives a power cut only once its folder is on the disk as well. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function append(file: OpenFile, parts: readonly Buffer[]): Promise<void> {
  const bytes = Buffer.concat(file.isTorn ? [newline, ...parts] : parts)
  let written = 0
  try {
    while (written < bytes.length) written += (await file.handle.write(bytes, written)).bytesWritten
    file.isTorn = false
  } catch (error) {
    if (written > 0) file.isTorn = bytes[written - 1] !== 10
    throw error
  }
}
