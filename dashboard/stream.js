// Server-sent events by fetch, as EventSource cannot send a header. A stream that ends is opened again, later each time.

import { Problem } from "./session.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
/** The server gives a sign of life every 15 s. */
const SILENCE = 40_000;

/** Why no stream is opened again: nothing changes by trying. */
const isFinal = (problem) => [400, 401, 403].includes(problem.code);

/**
 * Follows a stream until `close()`. `told(event, data)`: an event; `state(word, problem)`: Live, Waiting (for the next attempt) or
 * Ended.
 */
export function follow(session, path, { told, state }) {
  const ends = new AbortController();
  let pause = FIRST_PAUSE;

  const once = async () => {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), SILENCE);
    try {
      const signal = AbortSignal.any([ends.signal, silent.signal]);
      const response = await session.open(path, { signal, headers: { Accept: "text/event-stream" } });
      for await (const event of events(response.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => silent.abort(), SILENCE);
        if (event === null) continue;
        if (event.name === "end") throw new Problem(event.data.code, event.data.reason, event.data.message);
        pause = FIRST_PAUSE;
        state("Live", null);
        hand(told, event);
      }
    } catch (error) {
      return error instanceof Problem ? error : Problem.unreachable();
    } finally {
      clearTimeout(timer);
    }
    return Problem.unreachable();
  };

  const run = async () => {
    while (!ends.signal.aborted) {
      const problem = await once();
      if (ends.signal.aborted) return;
      if (isFinal(problem)) {
        state("Ended", problem);
        if (problem.code === 401) session.end(problem);
        return;
      }
      state("Waiting", problem);
      await rest(pause * (0.75 + Math.random() / 2), ends.signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  };
  run();
  return { close: () => ends.abort() };
}

/** What cannot be shown is a fault of the page, and no end of the stream. */
function hand(told, { name, data }) {
  try {
    told(name, data);
  } catch (error) {
    reportError(error);
  }
}

function rest(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

/** The events of a body; null for a comment, which is a sign of life. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      let end;
      while ((end = text.indexOf("\n\n")) >= 0) {
        yield parse(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
