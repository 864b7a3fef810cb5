// Pub/sub: named topics with JSON messages, over the event streams of the REST API.
//
// `listen` resolves when the server has confirmed the subscription, so nothing published after it is missed.

export class Topic {
  constructor(redis, name) {
    Object.assign(this, { redis, name });
  }

  /** How many subscribers were told. */
  publish(message) {
    return this.redis.publish(this.name, message);
  }

  listen(onMessage) {
    return listen(this.redis.subscribe(this.name), ({ message }) => onMessage(message), "message", "subscribe");
  }
}

export function listenPattern(redis, pattern, onMessage) {
  const deliver = ({ channel, message }) => onMessage(channel, message);
  return listen(redis.psubscribe(pattern), deliver, "pmessage", "psubscribe");
}

function listen(subscriber, deliver, event, confirmation) {
  return new Promise((resolve, reject) => {
    subscriber.on("error", reject);
    subscriber.on(event, deliver);
    subscriber.on(confirmation, () => resolve(() => subscriber.unsubscribe()));
  });
}
