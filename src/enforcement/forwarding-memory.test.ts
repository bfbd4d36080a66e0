/**
 * Bodies of any size in constant memory: forwarding runs in a process of its own, whose peak is read from the kernel.
 * 256 MiB each way; with POSTERN_TEST_LONG=1, 2 GiB.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'

const mebibyte = 1024 * 1024
const isLong = process.env['POSTERN_TEST_LONG'] === '1'
const bodyBytes = (isLong ? 2048 : 256) * mebibyte
const chunk = Buffer.alloc(mebibyte, 'x')

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** Writes a body with backpressure. */
async function pour(socket: Socket, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
}

/** Counts what comes after the head, without keeping any of it. */
function countBody(socket: Socket): Promise<number> {
  return new Promise((resolve) => {
    let head = ''
    let expected = -1
    let body = 0
    socket.on('data', (data: Buffer) => {
      if (expected === -1) {
        head += data.toString('latin1')
        const end = head.indexOf('\r\n\r\n')
        if (end === -1) return
        expected = Number(/content-length: (\d+)/i.exec(head)?.[1])
        body = head.length - end - 4
      } else body += data.length
      if (body >= expected) resolve(body)
    })
    socket.on('close', () => resolve(body))
    socket.on('error', () => resolve(body))
  })
}

async function startProcess(origin: string) {
  const child = fork(fileURLToPath(new URL('./forwarding-process.fixture.ts', import.meta.url)), [origin])
  closers.push(async () => {
    child.kill()
    await once(child, 'exit')
  })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const peakMebibytes = async () => {
    child.send('peak')
    const [{ peakBytes }] = (await once(child, 'message')) as [{ peakBytes: number }]
    return peakBytes / mebibyte
  }
  return { port, peakMebibytes }
}

/** Pours on GET, counts on POST, and answers `/small` at once. */
async function startUpstream() {
  const progress = { poured: 0, received: 0 }
  const server = createServer((request, response) => {
    if (request.url === '/small') {
      response.end('hello')
      return
    }
    if (request.method === 'POST') {
      request.on('data', (data: Buffer) => {
        progress.received += data.length
      })
      request.on('end', () => response.end('ok'))
      return
    }
    response.setHeader('Content-Length', bodyBytes)
    const more = () => {
      while (progress.poured < bodyBytes) {
        progress.poured += chunk.length
        if (!response.write(chunk)) return
      }
      response.end()
    }
    response.on('drain', more)
    more()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { progress, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

function open(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  closers.push(() => socket.destroy())
  return socket
}

test('a download and an upload leave memory where it was', { timeout: isLong ? 300_000 : 60_000 }, async () => {
  const { origin, progress } = await startUpstream()
  const { port, peakMebibytes } = await startProcess(origin)

  const download = open(port)
  download.write('GET /big HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
  expect(await countBody(download)).toBe(bodyBytes)

  const upload = open(port)
  upload.write(`POST /big HTTP/1.1\r\nHost: wiki.corp.example\r\nContent-Length: ${bodyBytes}\r\n\r\n`)
  const [answered] = await Promise.all([countBody(upload), pour(upload, bodyBytes)])
  expect(answered).toBe(2)
  expect(progress.received).toBe(bodyBytes)

  expect(await peakMebibytes()).toBeLessThan(200)
})

test('a client that reads slowly holds its upstream back, and nobody else', { timeout: 60_000 }, async () => {
  const { origin, progress } = await startUpstream()
  const { port, peakMebibytes } = await startProcess(origin)
  const slow = open(port)
  slow.write('GET /big HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
  slow.pause()

  for (let i = 0; i < 200; i++) {
    const quick = open(port)
    quick.write('GET /small HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
    expect(await countBody(quick)).toBe(5)
    quick.destroy()
  }
  expect(progress.poured).toBeLessThan(64 * mebibyte)
  expect(await peakMebibytes()).toBeLessThan(200)
})
