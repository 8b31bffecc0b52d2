"""The dataset of freight prices: its columns, its checks, and the rates counted from them."""
