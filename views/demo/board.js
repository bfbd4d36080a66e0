/**
 * The board's page: keeps the chat socket and the ticker's stream open, and says honestly whether they are.
 *
 * Postern closes a socket with 4401 when the person has to sign in again and with 4403 when access ended. Then trying again is
 * useless: the page says what happened and offers to reload, which leads through sign-in or to the page that explains.
 */

const firstRetryMs = 500
const longestRetryMs = 15_000

const messages = document.querySelector('#messages')
const log = messages.parentElement
const form = document.querySelector('#write')
const field = document.querySelector('#text')
const present = document.querySelector('#present')
const news = document.querySelector('#news')
const me = messages.dataset.me

let socket
let retryMs = firstRetryMs

connectChat()
connectTicker()
log.scrollTop = log.scrollHeight

form.addEventListener('submit', (event) => {
  // Without a socket the form is sent as any form is, and nothing is lost.
  if (socket?.readyState !== WebSocket.OPEN) return
  event.preventDefault()
  if (field.value.trim() === '') return
  socket.send(field.value)
  field.value = ''
  field.focus()
})

function connectChat() {
  show('chat', 'waiting', 'Chat: connecting…')
  const address = new URL('/socket', location.href)
  address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  socket = new WebSocket(address)
  socket.addEventListener('open', () => {
    retryMs = firstRetryMs
    show('chat', 'on', 'Chat: connected')
  })
  socket.addEventListener('message', ({ data }) => {
    const event = JSON.parse(data)
    if (event.type === 'message') addMessage(event)
    if (event.type === 'present') present.textContent = `Here now: ${event.people.join(', ')}`
  })
  socket.addEventListener('close', ({ code }) => {
    present.textContent = ''
    if (code === 4401) return offerReload('chat', 'Chat: you were signed out.')
    if (code === 4403) return offerReload('chat', 'Chat: your access ended.')
    show('chat', 'off', `Chat: connection lost, trying again in ${Math.ceil(retryMs / 1000)} s`)
    setTimeout(connectChat, retryMs)
    retryMs = Math.min(retryMs * 2, longestRetryMs)
  })
}

function connectTicker(failures = 0, lastSeen = 0) {
  show('ticker', 'waiting', 'Ticker: connecting…')
  const stream = new EventSource('/events')
  let tries = failures
  let seen = lastSeen
  stream.addEventListener('open', () => {
    tries = 0
    show('ticker', 'on', 'Ticker: live')
  })
  stream.addEventListener('news', ({ data, lastEventId }) => {
    // A stream that was opened anew begins with what is already shown.
    if (Number(lastEventId) <= seen) return
    seen = Number(lastEventId)
    addNews(JSON.parse(data))
  })
  stream.addEventListener('error', () => {
    show('ticker', 'off', 'Ticker: connection lost')
    // The browser tries again by itself, except after an answer that was no stream: sign-in needed, or refused.
    if (stream.readyState !== EventSource.CLOSED) return
    tries += 1
    if (tries > 2) return offerReload('ticker', 'Ticker: no longer available.')
    setTimeout(() => connectTicker(tries, seen), longestRetryMs / 5)
  })
}

function addMessage({ from, text, at }) {
  const item = document.createElement('li')
  if (from === me) item.className = 'mine'
  const name = document.createElement('strong')
  name.textContent = from
  const body = document.createElement('p')
  body.textContent = text
  item.append(name, ' ', timeOf(at), body)
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80
  messages.append(item)
  while (messages.children.length > 200) messages.firstElementChild.remove()
  if (isAtEnd || from === me) log.scrollTop = log.scrollHeight
}

function addNews({ at, text }) {
  const item = document.createElement('li')
  item.append(timeOf(at), ' ', text)
  news.prepend(item)
  while (news.children.length > 12) news.lastElementChild.remove()
}

function timeOf(at) {
  const time = document.createElement('time')
  time.dateTime = new Date(at).toISOString()
  time.textContent = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  return time
}

function show(which, state, text) {
  const element = document.querySelector(`#${which}-state`)
  element.dataset.state = state
  element.textContent = text
}

function offerReload(which, text) {
  show(which, 'off', `${text} `)
  const link = document.createElement('a')
  link.href = '/'
  link.textContent = 'Reload'
  document.querySelector(`#${which}-state`).append(link)
}
