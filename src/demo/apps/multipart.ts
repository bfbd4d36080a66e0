/**
 * Reading `multipart/form-data` (RFC 7578) as a stream: fields into memory with a limit, files straight to disk.
 *
 * A file of any size passes through in pieces; the writer's backpressure holds the sender back. File names come from the
 * client and are only ever shown: where a file is written is decided here, by a random name.
 */

import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'

export interface UploadedFile {
  /** As the client called it, without any path. For display and `Content-Disposition` alone. */
  readonly name: string
  /** Where it lies now. */
  readonly path: string
  readonly bytes: number
}

export interface MultipartForm {
  readonly fields: ReadonlyMap<string, string>
  readonly files: readonly UploadedFile[]
}

export interface MultipartLimits {
  readonly folder: string
  readonly fieldBytes: number
  readonly fileBytes: number
  readonly parts: number
}

const maxHeaderBytes = 8 * 1024

/** Reads the form, or rejects and removes what it had written. An empty file input yields no file. */
export async function readMultipart(request: IncomingMessage, limits: MultipartLimits): Promise<MultipartForm> {
  const boundary = /^multipart\/form-data;.*boundary=(?:"([^"]{1,70})"|([^;\s"]{1,70}))/i.exec(request.headers['content-type'] ?? '')
  if (boundary === null) throw new RangeError('not multipart/form-data')
  const delimiter = Buffer.from(`\r\n--${boundary[1] ?? boundary[2] ?? ''}`, 'latin1')
  const fields = new Map<string, string>()
  const files: UploadedFile[] = []
  let part: Part | undefined
  let parts = 0
  // The first delimiter has no line break before it, so one is put there.
  let rest: Buffer = Buffer.from('\r\n')
  let isDone = false
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (isDone) continue // the epilogue is read to its end and means nothing
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const at = rest.indexOf(delimiter)
        if (at === -1) {
          // The end of what we have may be the beginning of a delimiter.
          const sure = rest.length - delimiter.length
          if (sure > 0 && part !== undefined) {
            await part.write(rest.subarray(0, sure))
            rest = rest.subarray(sure)
          } else if (part === undefined && rest.length > maxHeaderBytes) throw new RangeError('no part begins')
          break
        }
        const after = at + delimiter.length
        if (rest.length < after + 2) break
        const isLast = rest.toString('latin1', after, after + 2) === '--'
        const headerEnd = isLast ? after : rest.indexOf('\r\n\r\n', after)
        if (headerEnd === -1) {
          if (rest.length - after > maxHeaderBytes) throw new RangeError('a part header is too large')
          break
        }
        if (part !== undefined) {
          await part.write(rest.subarray(0, at))
          await part.end()
          part = undefined
        }
        if (isLast) {
          isDone = true
          break
        }
        parts += 1
        if (parts > limits.parts) throw new RangeError('too many parts')
        part = beginPart(rest.toString('utf8', after, headerEnd), limits, { fields, files })
        rest = rest.subarray(headerEnd + 4)
      }
    }
    if (!isDone) throw new RangeError('the form ends too early')
    return { fields, files }
  } catch (error) {
    // What remains is read and dropped, so that the caller's answer arrives and the connection stays usable. Not at once: the
    // iterator lets go of the stream only after this turn.
    setImmediate(() => request.resume())
    await part?.abandon()
    await Promise.all(files.map(({ path }) => rm(path, { force: true })))
    throw error
  }
}

interface Part {
  write(bytes: Buffer): Promise<void>
  end(): Promise<void>
  abandon(): Promise<void>
}

function beginPart(header: string, limits: MultipartLimits, form: { fields: Map<string, string>; files: UploadedFile[] }): Part {
  const disposition = /^content-disposition:\s*form-data;(.*)$/im.exec(header)?.[1] ?? ''
  const name = /;?\s*name="([^"]*)"/i.exec(disposition)?.[1]
  if (name === undefined) throw new RangeError('a part has no name')
  const fileName = /;\s*filename="([^"]*)"/i.exec(disposition)?.[1]
  return fileName === undefined ? fieldPart(name, limits, form.fields) : filePart(fileName, limits, form.files)
}

function fieldPart(name: string, limits: MultipartLimits, fields: Map<string, string>): Part {
  const chunks: Buffer[] = []
  let bytes = 0
  return {
    write: async (piece) => {
      bytes += piece.length
      if (bytes > limits.fieldBytes) throw new RangeError(`the field ${name} is too large`)
      chunks.push(Buffer.from(piece))
    },
    end: async () => {
      fields.set(name, Buffer.concat(chunks).toString('utf8'))
    },
    abandon: async () => {},
  }
}

function filePart(sentName: string, limits: MultipartLimits, files: UploadedFile[]): Part {
  // Some browsers send a path; only its last name is of use.
  const name = decodeFormName(sentName).split(/[\\/]/).at(-1) ?? ''
  const path = join(limits.folder, randomUUID())
  const target: Writable =
    name === '' ? new Writable({ write: (_piece, _encoding, done) => done() }) : createWriteStream(path, { flags: 'wx', mode: 0o600 })
  let failure: Error | undefined
  target.on('error', (error) => {
    failure = error
  })
  let bytes = 0
  return {
    write: async (piece) => {
      if (failure !== undefined) throw failure
      bytes += piece.length
      if (bytes > limits.fileBytes) throw new RangeError('the file is too large')
      if (!target.write(piece)) await drained(target)
    },
    end: async () => {
      target.end()
      await finished(target)
      if (name !== '') files.push({ name, path, bytes })
    },
    abandon: async () => {
      target.destroy()
      await rm(path, { force: true })
    },
  }
}

/** Waits until the writer takes more, or has failed. */
async function drained(target: Writable): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = () => {
      target.off('drain', go).off('close', go)
      resolve()
    }
    target.on('drain', go).on('close', go)
  })
}

/** HTML §4.10.21.8: browsers escape line breaks and quotes in file names this way, and nothing else. */
function decodeFormName(name: string): string {
  return name.replace(/%0D|%0A/gi, ' ').replace(/%22/g, '"')
}
