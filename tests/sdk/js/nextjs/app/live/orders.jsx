"use client";

import { useEffect, useRef, useState } from "react";

const tell = (key, value) => fetch(`/api/edge?key=${key}`, { method: "PUT", body: JSON.stringify(value) });

/** A list that grows; what is on the screen is told to the server, as a receipt. */
export function Orders({ known }) {
  const [orders, setOrders] = useState(known);
  const list = useRef(null);

  useEffect(() => {
    const source = new EventSource("/api/events?channel=live");
    source.addEventListener("ready", () => tell("live:listening", true));
    source.addEventListener("message", ({ data }) => setOrders((before) => [...before, JSON.parse(data)]));
    return () => source.close();
  }, []);

  useEffect(() => {
    if (orders.length > known.length) tell("live:shown", list.current.innerText.split("\n"));
  }, [orders, known]);

  return (
    <ul ref={list}>
      {orders.map(({ id, item }) => (
        <li key={id}>{`${id}: ${item}`}</li>
      ))}
    </ul>
  );
}
