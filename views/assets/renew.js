/*
 * For apps behind Postern whose pages stay open: notices that a session ended, has it renewed, and lets the page go on where it was.
 *
 *   <script src="/.postern/renew.js" data-wrap="fetch xhr"></script>
 *
 * A 401 of ours (told by `X-Postern`) is renewed in a hidden frame; where that cannot work, in a popup; where that is blocked, a banner asks
 * for a click. The request is sent once more, and only if the same person is signed in as before: else the page reloads, for what it shows
 * is another's. Nothing here is believed that a window says: `whoami` is asked. It is also the script of the page that a renewal ends on.
 */

;(() => {
  // An element of this name would stand for it (DOM clobbering), and its attributes would be somebody else's wishes.
  const own = document.currentScript instanceof HTMLScriptElement ? document.currentScript : document.createElement('script')
  if (own.dataset.outcome !== undefined) return reportOutcome(own.dataset)
  if (window.postern !== undefined) return
  const { wrap = '', warn = 'on', banner: bannerWish = 'on', stylesheet = '/.postern/renew.css' } = own.dataset

  const frameLimitMs = 8_000
  /* As long as an attempt lives: nobody who comes back later than that is signed in by it. */
  const popupLimitMs = 300_000
  const warnBeforeMs = 120_000
  /* Whoever said "not now" is left alone for so long, however often the page asks for something in the background. */
  const quietMs = 60_000
  const renewable = new Set(['login_required', 'session_expired', 'session_ended', 'insufficient_user_authentication'])
  const nativeFetch = window.fetch.bind(window)
  const NativeRequest = window.XMLHttpRequest
  const news = new BroadcastChannel('postern-renewal')

  /* Who this page was made for. `undefined`: not known, and then nobody counts as the same. */
  let subject
  let canFrame = true
  let renewedAt = Number.NEGATIVE_INFINITY
  let dismissedAt = Number.NEGATIVE_INFINITY
  const underWay = new Map()
  /* When a renewal last opened nothing at an origin: what stays closed to somebody is not renewed for at every call. */
  const uselessAt = new Map()
  let inOrder = Promise.resolve()
  let warning

  news.addEventListener('message', ({ data }) => {
    if (data?.outcome === 'renewed') renewedAt = performance.now()
  })

  function tell(name, detail = {}) {
    return document.dispatchEvent(new CustomEvent(`postern:${name}`, { detail, cancelable: true }))
  }

  /* Who is signed in now, and when that ends; `undefined` if nobody is, or nobody can say. */
  async function whoami() {
    try {
      const wish = { cache: 'no-store', headers: { accept: 'application/json' }, signal: AbortSignal.timeout(frameLimitMs) }
      const answer = await nativeFetch('/.postern/whoami', wish)
      if (!answer.ok) return undefined
      const person = await answer.json()
      // By the clock that wrote it: this machine's may be wrong by hours.
      const at = Date.parse(answer.headers.get('date') ?? '') || Date.now()
      return { subject: person.subject ?? undefined, idleLeftMs: person.session.idle_ends_at * 1000 - at }
    } catch {
      // No network is no sign-out.
      return undefined
    }
  }

  const begun = whoami().then((person) => {
    subject = person?.subject
    watchIdleEnd(person)
  })

  /* What a refusal of ours asks for. */
  function readRefusal(reason, url, body) {
    const demand = URL.parse(body?.sign_in ?? '')?.searchParams.get('step_up') ?? undefined
    return { reason, url, stepUp: reason === 'insufficient_user_authentication' ? demand : undefined, at: performance.now() }
  }

  /* Resolves to whether the request may be sent again. One renewal at a time in this page; what asks for the same shares it. */
  async function renew(refusal = { reason: 'asked', url: location.href, stepUp: undefined, at: performance.now() }) {
    await begun
    if (performance.now() - uselessAt.get(keyOf(refusal)) < quietMs) return false
    const key = refusal.stepUp ?? ''
    if (!underWay.has(key)) {
      inOrder = inOrder.then(() => renewNow(refusal)).finally(() => underWay.delete(key))
      underWay.set(key, inOrder)
    }
    const isRenewed = await underWay.get(key)
    return isRenewed && (await isSamePerson())
  }

  function keyOf({ reason, url }) {
    return `${reason} ${URL.parse(url, location.href)?.origin}`
  }

  function noteUseless(refusal, status, reason) {
    if (status === 401 && refusal?.reason === reason) uselessAt.set(keyOf(refusal), performance.now())
  }

  /*
   * Over all tabs of this origin one at a time asks in a frame; the others find that it was done while they waited. Where somebody has to do
   * something, every tab says so: the one that was first may be out of sight.
   */
  async function renewNow(refusal) {
    if (performance.now() - dismissedAt < quietMs && refusal.reason !== 'asked') return false
    const unseen = () => renewUnseen(refusal)
    const inTurn = navigator.locks === undefined ? unseen() : navigator.locks.request('postern-renewal', unseen)
    const isRenewed = (await inTurn) || (await renewInPopup(refusal))
    if (isRenewed) showBanner(undefined)
    return isRenewed
  }

  async function renewUnseen(refusal) {
    const { reason, stepUp, url } = refusal
    if (renewedAt > refusal.at && stepUp === undefined) return true
    tell('renewing', { reason })
    // Somebody has to do something for a stronger sign-in; nobody can in a frame.
    const isFramed = canFrame && reason !== 'insufficient_user_authentication' && (await renewInFrame(refusal)) === 'renewed'
    // The frame may have got as far as this origin's own cookie, and stuck at the next host.
    const isOwn = stepUp === undefined && URL.parse(url, location.href)?.origin === location.origin
    if (!isFramed && !(isOwn && (await whoami()) !== undefined)) return false
    renewedAt = performance.now()
    news.postMessage({ outcome: 'renewed', by: 'page' })
    return true
  }

  async function isSamePerson() {
    const person = await whoami()
    if (person === undefined) return false
    if (subject !== undefined && person.subject === subject) {
      watchIdleEnd(person)
      tell('renewed')
      return true
    }
    // What this page shows, and holds in memory, was somebody else's; or nobody can tell, and then once is enough.
    const isKnown = subject !== undefined && person.subject !== undefined
    if (!isKnown && hasReloaded()) {
      tell('failed', { outcome: 'subject_unknown' })
      return false
    }
    tell('reloading', { reason: isKnown ? 'subject_changed' : 'subject_unknown' })
    location.reload()
    return await new Promise(() => undefined)
  }

  /* Whether this was asked within the last minute, by this tab: a page that calls what stays closed would reload for ever. */
  function hasReloaded() {
    try {
      const last = Number(sessionStorage.getItem('postern-reloaded'))
      sessionStorage.setItem('postern-reloaded', String(Date.now()))
      return Date.now() - last < quietMs
    } catch {
      // A page without storage cannot remember; it keeps the refusal.
      return true
    }
  }

  function addressOf(mode, { url, stepUp }) {
    const query = new URLSearchParams({ mode, for: url })
    if (stepUp !== undefined) query.set('step_up', stepUp)
    return `/.postern/renew?${query}`
  }

  function renewInFrame(refusal) {
    return new Promise((resolve) => {
      const frame = document.createElement('iframe')
      frame.hidden = true
      frame.title = ''
      frame.setAttribute('aria-hidden', 'true')
      const settle = (outcome) => {
        clearTimeout(patience)
        removeEventListener('message', hear)
        document.removeEventListener('securitypolicyviolation', notice)
        frame.remove()
        // A frame that says nothing will say nothing the next time either; one that was answered can be tried again.
        if (outcome === 'blocked' || outcome === 'timeout') canFrame = false
        resolve(outcome)
      }
      const hear = ({ source, origin, data }) => {
        if (source === frame.contentWindow && origin === location.origin && data?.postern === 'renewal') settle(String(data.outcome))
      }
      const notice = ({ disposition, effectiveDirective }) => {
        if (disposition === 'enforce' && /^(?:frame|child|default)-src/.test(effectiveDirective)) settle('blocked')
      }
      const patience = setTimeout(() => settle('timeout'), frameLimitMs)
      addEventListener('message', hear)
      document.addEventListener('securitypolicyviolation', notice)
      frame.src = addressOf('frame', refusal)
      document.documentElement.append(frame)
    })
  }

  /* The window cannot be watched: pages on the way cut its tie to this one (COOP). It reports by the channel, or never. */
  function renewInPopup(refusal) {
    return new Promise((resolve) => {
      const openWindow = () => window.open(addressOf('popup', refusal), 'postern-renewal', 'popup,width=520,height=720') !== null
      const settle = (outcome) => {
        clearTimeout(patience)
        news.removeEventListener('message', hear)
        document.removeEventListener('postern:dismissed', dismiss)
        if (outcome !== 'renewed') tell('failed', { outcome })
        resolve(outcome === 'renewed')
      }
      const hear = ({ data }) => {
        // A stronger sign-in is what a popup brings; what another page got in a frame is not that.
        if (data?.outcome === 'renewed' && (refusal.stepUp === undefined || data.by !== 'page')) settle('renewed')
      }
      const dismiss = () => {
        dismissedAt = performance.now()
        settle('dismissed')
      }
      const patience = setTimeout(() => settle('timeout'), popupLimitMs)
      news.addEventListener('message', hear)
      document.addEventListener('postern:dismissed', dismiss)
      const isOpen = openWindow()
      tell(isOpen ? 'popup' : 'blocked')
      const kind = refusal.reason === 'insufficient_user_authentication' ? 'step-up' : 'ended'
      showBanner({ kind, open: openWindow })
    })
  }

  const words = {
    ended: ['Your session has ended. Nothing you typed is lost.', 'Sign in again'],
    'step-up': ['This needs a stronger or more recent sign-in. Nothing you typed is lost.', 'Confirm it is you'],
    idle: ['Your session is about to end because it was not used.', 'Stay signed in'],
  }

  /* Class names and no style: a page that has its own look for it needs only a stylesheet. */
  function showBanner(wish) {
    document.querySelector('.postern-banner')?.remove()
    if (wish === undefined || bannerWish === 'off') return
    addStylesheet()
    const [text, action] = words[wish.kind]
    const make = (tag, name, content) =>
      Object.assign(document.createElement(tag), { className: `postern-banner-${name}`, textContent: content })
    const banner = document.createElement('div')
    banner.className = `postern-banner postern-banner-${wish.kind}`
    banner.setAttribute('role', 'alert')
    const button = Object.assign(make('button', 'action', action), { type: 'button' })
    button.addEventListener('click', wish.open)
    const close = Object.assign(make('button', 'close', 'Not now'), { type: 'button' })
    close.addEventListener('click', () => {
      banner.remove()
      tell('dismissed')
    })
    banner.append(make('p', 'text', text), button, close)
    document.body.append(banner)
  }

  function addStylesheet() {
    if (stylesheet === 'none' || document.querySelector('link[data-postern]') !== null) return
    const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: stylesheet })
    link.dataset.postern = ''
    document.head.append(link)
  }

  /* Every tab watches by itself, and looks again before it says anything: another may have used the session in the meantime. */
  function watchIdleEnd(person) {
    clearTimeout(warning)
    if (warn === 'off' || person === undefined) return
    const { idleLeftMs } = person
    // A limit of a few minutes is warned of at half time.
    const leadMs = Math.min(warnBeforeMs, idleLeftMs / 2)
    // Timers hold no more than 31 bits.
    warning = setTimeout(() => void warnOrWait(leadMs), Math.min(Math.max(0, idleLeftMs - leadMs), 2 ** 31 - 1))
  }

  async function warnOrWait(leadMs) {
    const person = await whoami()
    if (person === undefined || person.subject !== subject) return
    if (person.idleLeftMs > leadMs + 1_000) return watchIdleEnd(person)
    if (!tell('warning', { secondsLeft: Math.max(0, Math.round(person.idleLeftMs / 1000)) })) return
    showBanner({ kind: 'idle', open: () => void renew().then((isRenewed) => isRenewed && showBanner(undefined)) })
    // Used or not, that is settled by then.
    warning = setTimeout(() => void lookAfterWarning(), Math.max(1_000, person.idleLeftMs))
  }

  async function lookAfterWarning() {
    const person = await whoami()
    if (person === undefined || person.subject !== subject) return
    if (person.idleLeftMs < 2_000) {
      warning = setTimeout(() => void lookAfterWarning(), 1_000)
      return
    }
    if (document.querySelector('.postern-banner-idle') !== null) showBanner(undefined)
    watchIdleEnd(person)
  }

  document.addEventListener('visibilitychange', () => {
    // The timers of a hidden page, and of a machine that slept, are late.
    if (!document.hidden && warning !== undefined && document.querySelector('.postern-banner') === null) void whoami().then(watchIdleEnd)
  })

  /* Like `fetch`. A body that can be read once only is not sent twice: its 401 is the page's to deal with. */
  async function posternFetch(input, init) {
    const isOnce = init?.body instanceof ReadableStream
    const again = input instanceof Request && !isOnce ? input.clone() : input
    const answer = await nativeFetch(input, init)
    const refusal = isOnce ? undefined : await readAnswer(answer)
    if (refusal === undefined || !(await renew(refusal))) return answer
    const second = await nativeFetch(again, init)
    noteUseless(refusal, second.status, second.headers.get('x-postern'))
    return second
  }

  async function readAnswer(answer) {
    const reason = answer.headers.get('x-postern')
    if (answer.status !== 401 || !renewable.has(reason)) return undefined
    const body = await answer
      .clone()
      .json()
      .catch(() => undefined)
    return readRefusal(reason, answer.url, body)
  }

  /* Like `XMLHttpRequest`: whoever listens hears of a 401 of ours only if it stays one. */
  class PosternRequest extends NativeRequest {
    #sent = { open: undefined, headers: [], body: undefined }
    #state = 'first'

    constructor() {
      super()
      // Before anybody else's, so that what is swallowed here is heard by nobody.
      for (const type of ['readystatechange', 'progress', 'load', 'loadend']) this.addEventListener(type, (event) => this.#hear(event))
    }

    open(method, url, isAsync = true, ...credentials) {
      this.#sent = { open: [method, url, isAsync, ...credentials], headers: [], body: undefined }
      this.#state = isAsync ? 'first' : 'last'
      super.open(method, url, isAsync, ...credentials)
    }

    setRequestHeader(name, value) {
      super.setRequestHeader(name, value)
      this.#sent.headers.push([name, value])
    }

    send(body) {
      this.#sent.body = body
      super.send(body)
    }

    abort() {
      if (this.#state !== 'waiting') return super.abort()
      this.#state = 'last'
      super.abort()
      this.dispatchEvent(new ProgressEvent('abort'))
      this.dispatchEvent(new ProgressEvent('loadend'))
    }

    #hear(event) {
      if (event.type === 'loadend') noteUseless(this.#sent.refusal, this.status, this.getResponseHeader('x-postern'))
      const isOurs = this.#state === 'waiting' || this.#state === 'again' || (this.#state === 'first' && this.#isRefused())
      if (!isOurs) return
      event.stopImmediatePropagation()
      if (this.#state !== 'first' || event.type !== 'loadend') return
      this.#state = 'waiting'
      void this.#goOn()
    }

    #isRefused() {
      return this.readyState >= NativeRequest.HEADERS_RECEIVED && this.status === 401 && renewable.has(this.getResponseHeader('x-postern'))
    }

    async #goOn() {
      const refusal = readRefusal(this.getResponseHeader('x-postern'), this.responseURL, this.#readBody())
      const isRenewed = await renew(refusal)
      if (this.#state !== 'waiting') return
      if (!isRenewed) {
        this.#state = 'last'
        for (const type of ['readystatechange', 'load', 'loadend']) {
          this.dispatchEvent(type === 'readystatechange' ? new Event(type) : new ProgressEvent(type))
        }
        return
      }
      this.#state = 'again'
      this.#sent.refusal = refusal
      super.open(...this.#sent.open)
      this.#state = 'last'
      for (const [name, value] of this.#sent.headers) super.setRequestHeader(name, value)
      super.send(this.#sent.body)
    }

    #readBody() {
      try {
        return this.responseType === 'json' ? this.response : JSON.parse(this.responseText)
      } catch {
        // Asked for in a form that JSON cannot be read from; then the demand is not known and the app asks once more.
        return undefined
      }
    }
  }

  window.postern = {
    fetch: posternFetch,
    renew: () => renew(),
    XMLHttpRequest: PosternRequest,
    whoami,
  }
  const wrapped = wrap.split(/\s+/)
  if (wrapped.includes('fetch')) window.fetch = posternFetch
  if (wrapped.includes('xhr')) window.XMLHttpRequest = PosternRequest

  /* On the page that a renewal ends on: to the page that frames it, if that is of this origin, or to all of this origin. */
  function reportOutcome({ outcome, mode }) {
    if (mode === 'frame') {
      parent.postMessage({ postern: 'renewal', outcome }, location.origin)
      return
    }
    const channel = new BroadcastChannel('postern-renewal')
    channel.postMessage({ outcome })
    channel.close()
    if (outcome === 'renewed') window.close()
  }
})()
