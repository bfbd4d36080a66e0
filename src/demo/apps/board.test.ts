/**
 * The board over real sockets: two people, one conversation, one ticker.
 */

import { request as sendRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { RunningApp } from './app-server.ts'
import { type BoardEvent, startBoard } from './board.ts'

const alice = { 'x-forwarded-user': 'alice', 'x-forwarded-preferred-username': 'alice' }
const bob = { 'x-forwarded-user': 'bob', 'x-forwarded-preferred-username': 'bob' }
let board: RunningApp

beforeAll(async () => {
  board = await startBoard(0, { now: Date.now, tickMs: 20 })
})

afterAll(async () => {
  await board.close()
})

describe('the board', () => {
  it('carries a message from one person to everyone, under the name that Postern stated', async () => {
    const first = await connect(alice)
    const second = await connect(bob)
    await first.until((event) => event.type === 'present' && event.people.join() === 'alice,bob')
    second.socket.send('<b>hello</b> ')
    for (const client of [first, second]) {
      const event = await client.until((candidate) => candidate.type === 'message')
      expect(event).toMatchObject({ from: 'bob', text: '<b>hello</b>' })
    }
    second.socket.close()
    await first.until((event) => event.type === 'present' && event.people.join() === 'alice')
    first.socket.close()
    const page = await (await fetch(board.origin, { headers: alice })).text()
    expect(page).toContain('&lt;b&gt;hello&lt;/b&gt;')
    expect(page).not.toContain('<b>hello</b>')
  })

  it('takes a message by form, for a page without script', async () => {
    const client = await connect(alice)
    const answer = await fetch(`${board.origin}/messages`, {
      method: 'POST',
      headers: bob,
      body: new URLSearchParams({ text: 'by form' }),
      redirect: 'manual',
    })
    expect(answer.status).toBe(303)
    expect(await client.until((event) => event.type === 'message')).toMatchObject({ from: 'bob', text: 'by form' })
    client.socket.close()
  })

  it('cuts a socket that sends too much at once, and upgrades nothing but its own path', async () => {
    const client = await connect(alice)
    const closed = new Promise<number>((resolve) => client.socket.once('close', resolve))
    client.socket.send('x'.repeat(5000))
    expect(await closed).toBe(1009)
    const elsewhere = new WebSocket(`${board.origin}/elsewhere`, { headers: alice })
    const error = await new Promise<Error>((resolve) => elsewhere.once('error', resolve))
    expect(error.message).toContain('404')
  })

  it('sends news for as long as one listens, and what was missed to one who comes back', async () => {
    const first = await readNews({}, 3)
    expect(first.type).toBe('text/event-stream')
    expect(first.ids).toEqual([...first.ids].sort((a, b) => a - b))
    const last = first.ids.at(-1) ?? 0
    const second = await readNews({ 'last-event-id': String(last) }, 2)
    expect(second.ids[0]).toBe(last + 1)
  })

  it('serves a page whose only script is its own file', async () => {
    const answer = await fetch(board.origin, { headers: alice })
    expect(answer.headers.get('content-security-policy')).toContain("script-src 'self'")
    expect(await answer.text()).not.toMatch(/<script>| on[a-z]+="| style="/)
    expect((await fetch(`${board.origin}/assets/board.js`)).headers.get('content-type')).toContain('javascript')
    expect((await fetch(`${board.origin}/assets/apps.css`)).headers.get('content-type')).toContain('css')
  })
})

interface Client {
  readonly socket: WebSocket
  /** The next event that fits. Events before it are passed over. */
  until(fits: (event: BoardEvent) => boolean): Promise<BoardEvent>
}

async function connect(headers: Record<string, string>): Promise<Client> {
  const socket = new WebSocket(`${board.origin}/socket`, { headers })
  const events: BoardEvent[] = []
  let taken = 0
  socket.on('message', (content) => events.push(JSON.parse(content.toString())))
  socket.on('error', () => {})
  await new Promise<void>((resolve) => socket.once('open', () => resolve()))
  return {
    socket,
    until: async (fits) => {
      let found: BoardEvent | undefined
      await expect
        .poll(
          () => {
            while (found === undefined && taken < events.length) {
              const event = events[taken]
              taken += 1
              if (event !== undefined && fits(event)) found = event
            }
            return found
          },
          { timeout: 5000, interval: 5 },
        )
        .toBeDefined()
      return found as BoardEvent
    },
  }
}

function readNews(headers: Record<string, string>, count: number): Promise<{ type: string | undefined; ids: number[] }> {
  return new Promise((resolve, reject) => {
    let text = ''
    const request = sendRequest(`${board.origin}/events`, { headers: { ...alice, ...headers } }, (response) => {
      response.on('data', (chunk) => {
        text += chunk
        const ids = [...text.matchAll(/^id: (\d+)\nevent: news\ndata: \{.*\}\n\n/gm)].map((match) => Number(match[1]))
        if (ids.length < count) return
        resolve({ type: response.headers['content-type'], ids })
        request.destroy()
      })
      response.on('error', () => {})
    })
    request.on('error', reject)
    request.end()
  })
}
