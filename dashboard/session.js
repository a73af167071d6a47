// Requests with the token of whoever looks. The token is in this object alone: no URL, cookie or storage has it.

/** Why a request was not carried out. */
export class Problem extends Error {
  constructor(code, reason, message) {
    super(message);
    this.code = code;
    this.reason = reason;
  }

  static async of(response) {
    try {
      const { reason, message } = await response.json();
      return new Problem(response.status, String(reason), String(message));
    } catch {
      return new Problem(response.status, "Unknown", `the server answers with the code ${response.status}`);
    }
  }

  static unreachable() {
    return new Problem(0, "Unreachable", "the server does not answer");
  }
}

const DEADLINE = 15_000;

export class Session {
  #token;
  #ended;

  /** `ended`: is called once the server does not know the token any more. */
  constructor(token, ended) {
    this.#token = token;
    this.#ended = ended;
  }

  get(path, signal) {
    return this.#json(path, { signal });
  }

  post(path, body) {
    return this.#json(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    });
  }

  /** The response, once its head is there and says that it is one. */
  async open(path, { signal, headers, ...options } = {}) {
    const all = new Headers(headers);
    all.set("Authorization", `Bearer ${this.#token}`);
    let response;
    try {
      response = await fetch(path, {
        ...options, signal, headers: all, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      });
    } catch (error) {
      if (signal?.aborted && signal.reason?.name !== "TimeoutError") throw error;
      throw Problem.unreachable();
    }
    if (response.ok) return response;
    const problem = await Problem.of(response);
    if (problem.code === 401) this.#ended(problem);
    throw problem;
  }

  async #json(path, { signal, ...options }) {
    const late = AbortSignal.timeout(DEADLINE);
    const both = signal ? AbortSignal.any([signal, late]) : late;
    const response = await this.open(path, { ...options, signal: both });
    try {
      return await response.json();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw Problem.unreachable();
    }
  }

  /** The server has ended a stream because of the token. */
  end(problem) {
    this.#ended(problem);
  }
}

/** The path of a policy at the server. */
export const policyPath = ({ namespace, name }) =>
  `/api/v1/policies/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
